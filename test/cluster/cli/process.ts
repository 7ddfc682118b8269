/** `bailiff` in a process of its own, on pipes. */
import type { ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { nodeArgs } from '../../../tools/children.ts';
import { launch } from '../../support/process.ts';
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
  /** Output on stderr so far. */
  errors: () => string;
  ended: Promise<Ended>;
}

/**
 * @param stdout a descriptor in place of the pipe; closed here
 * @param heapMib limit of the heap
 */
export function startCli(
  world: World,
  args: readonly string[],
  { stdout: to, heapMib }: { stdout?: number; heapMib?: number } = {},
): Started {
  const { child, stdout, stderr, exit } = launch(process.execPath, [...nodeArgs('apps/cli/src/main.ts'), ...args], {
    stdio: ['ignore', to ?? 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...(heapMib === undefined ? {} : { NODE_OPTIONS: `--max-old-space-size=${heapMib}` }),
      HOME: world.directory,
      BAILIFF_NATS_URL: world.nats.url,
      BAILIFF_NATS_PASSWORD_FILE: world.passwordFile,
    },
    maxOutput: Number.POSITIVE_INFINITY,
  });
  if (to !== undefined) closeSync(to);
  const ended = exit.then(([code, signal]) => ({ code, signal, stdout: stdout(), stderr: stderr() }));
  return { child, output: stdout, errors: stderr, ended };
}
