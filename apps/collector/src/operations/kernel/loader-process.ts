/** Starts the loader (loader.ts) as a process and waits for its result. */
import { execFile } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import type { Loading } from './loader.ts';

/** Loading takes a second or two, and many on an emulated or busy machine. */
const TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Retries while another process loads. */
const BUSY_PAUSE_MS = 1_000;
const BUSY_ATTEMPTS = 300;

/**
 * Runs `load-runtime` of this program, after any other process that loads. Rejects if it does not
 * report.
 */
export async function runLoaderProcess(pinDir: string, signal: AbortSignal): Promise<Loading> {
  for (let attempt = 1; ; attempt += 1) {
    const loading = await run(pinDir, signal);
    if (!loading.isBusy) return loading;
    if (attempt >= BUSY_ATTEMPTS)
      throw new Error('cannot load the runtime programs: another process loads them and does not end');
    await setTimeout(BUSY_PAUSE_MS, undefined, { signal });
  }
}

function run(pinDir: string, signal: AbortSignal): Promise<Loading> {
  const args = [...process.execArgv, process.argv[1] as string, 'load-runtime', '--bpf-dir', pinDir];
  return new Promise((resolve, reject) => {
    const options = { signal, timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, encoding: 'utf8' as const };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error) {
        reject(new Error(`cannot load the runtime programs: ${stderr.trim() || error.message}`, { cause: error }));
        return;
      }
      try {
        resolve(JSON.parse(stdout) as Loading);
      } catch (cause) {
        reject(new Error(`cannot load the runtime programs: the loader printed no result: ${stdout}`, { cause }));
      }
    });
  });
}
