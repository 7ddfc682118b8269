/** The collector's side of loader.ts: asks for it and waits. */
import { execFile } from 'node:child_process';
import type { Loading } from './loader.ts';

/** A second or two; many on a machine that is emulated and busy. */
const TIMEOUT_MS = 300_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Runs this very program's `load-runtime`. Rejects when it does not answer. */
export function loadBeside(pinDir: string, signal: AbortSignal): Promise<Loading> {
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
