/** `bailiff` in a process of its own, on pipes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { nodeArgs } from '../../../tools/children.ts';
import type { World } from './world.ts';

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface Started {
  child: ChildProcess;
  /** Output on stdout so far. */
  output: () => string;
  ended: Promise<Ended>;
}

/** @param stdout a descriptor in place of the pipe; closed here */
export function startCli(world: World, args: readonly string[], { stdout: to }: { stdout?: number } = {}): Started {
  const child = spawn(process.execPath, [...nodeArgs('apps/cli/src/main.ts'), ...args], {
    stdio: ['ignore', to ?? 'pipe', 'pipe'],
    env: {
      ...process.env,
      HOME: world.directory,
      BAILIFF_NATS_URL: world.nats.url,
      BAILIFF_NATS_PASSWORD_FILE: world.passwordFile,
    },
  });
  if (to !== undefined) closeSync(to);
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, output: () => stdout, ended };
}
