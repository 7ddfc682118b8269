/** An app as a process of its own, whose way up and down is looked at. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { nodeArgs } from '../../tools/children.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

export interface RunningApp extends Disposable {
  child: ChildProcess;
  /** What it has said on both streams. */
  out(): string;
  /** How it ended, when all that it has said was read too. */
  exit: Promise<[code: number | null, signal: string | null]>;
}

export function launchApp(app: string, flags: readonly string[]): RunningApp {
  const main = nodeArgs(`apps/${app}/src/main.ts`);
  const child = spawn(process.execPath, [...main, '--nats-user', app, ...flags], { cwd: ROOT });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
  }
  return {
    child,
    out: () => out,
    exit: once(child, 'close') as RunningApp['exit'],
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}
