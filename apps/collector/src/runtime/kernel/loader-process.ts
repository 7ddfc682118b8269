/** The collector's side of loader.ts: asks for it and waits. */
import { execFile } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import type { Loading } from './loader.ts';

/** A second or two; many on a machine that is emulated and busy. */
const TIMEOUT_MS = 300_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Pauses between attempts while another is at it, and how many there are. */
const BUSY_PAUSE_MS = 1_000;
const BUSY_ATTEMPTS = 300;

/** Runs this very program's `load-runtime`, when no other does. Rejects when it does not answer. */
export async function loadBeside(pinDir: string, signal: AbortSignal): Promise<Loading> {
  for (let attempt = 1; ; attempt += 1) {
    const loading = await run(pinDir, signal);
    if (!loading.isBusy) return loading;
    if (attempt >= BUSY_ATTEMPTS)
      throw new Error('loading the runtime programs: another process is at it and does not end');
    await setTimeout(BUSY_PAUSE_MS, undefined, { signal });
  }
}

function run(pinDir: string, signal: AbortSignal): Promise<Loading> {
  const args = [...process.execArgv, process.argv[1] as string, 'load-runtime', '--bpf-dir', pinDir];
  return new Promise((resolve, reject) => {
    const options = { signal, timeout: TIMEOUT_MS, maxBuffer: MAX_ANSWER_BYTES, encoding: 'utf8' as const };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error) {
        reject(new Error(`loading the runtime programs: ${stderr.trim() || error.message}`, { cause: error }));
        return;
      }
      try {
        resolve(JSON.parse(stdout) as Loading);
      } catch (cause) {
        reject(new Error(`loading the runtime programs: an answer that is none: ${stdout}`, { cause }));
      }
    });
  });
}
