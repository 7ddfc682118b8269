/**
 * An example of the documentation, run by Node unchanged: its output and its end. Disposing kills
 * it with SIGKILL.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';

const DOCS = path.resolve(import.meta.dirname, '../../docs');

/** @param file below docs/ */
export function startExample(file: string, env: Readonly<Record<string, string>>, args: readonly string[] = []) {
  const child = spawn(process.execPath, [path.join(DOCS, file), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const state = { out: '', err: '', code: null as number | null };
  child.stdout.on('data', (chunk: Buffer) => {
    state.out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    state.err += chunk.toString();
  });
  const gone = new Promise<void>((resolve) =>
    // Not `exit`: the last output may arrive after it.
    child.once('close', (code) => {
      state.code = code;
      resolve();
    }),
  );
  return {
    state,
    lines: () => state.out.split('\n').filter(Boolean),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
