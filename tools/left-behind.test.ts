// Each kind of leftover is reported, and not reported after it was reverted.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { waitFor } from '@bailiff/service/testing';
import { expect, it, vi } from 'vitest';
import config from '../vitest.config.ts';
import { leftBehind, look } from './left-behind.ts';

/** Creates a leftover and returns the function that reverts it. */
type Left = () => (() => unknown) | Promise<() => unknown>;

const LEFT: Record<string, [pattern: RegExp, Left]> = {
  'a loop that never waits': [
    /^Immediate: /,
    () => {
      let going = true;
      const turn = () => going && setImmediate(turn);
      turn();
      return () => {
        going = false;
      };
    },
  ],
  'a process of its own': [
    /^ProcessWrap: /,
    async () => {
      const child = spawn('sleep', ['60']);
      await once(child, 'spawn');
      return async () => {
        child.kill();
        await once(child, 'close');
      };
    },
  ],
  'a server': [
    /^TCPServerWrap: /,
    async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return () => once(server.close(), 'close');
    },
  ],
  'a listener': [
    /^listeners of 'SIGUSR2': 0 before, 1 after$/,
    () => {
      const listener = () => {};
      process.on('SIGUSR2', listener);
      return () => process.off('SIGUSR2', listener);
    },
  ],
  'a variable': [
    /^variable BAILIFF_LEFT: \(unset\) before, here after$/,
    () => {
      vi.stubEnv('BAILIFF_LEFT', 'here');
      return () => vi.unstubAllEnvs();
    },
  ],
  'another working directory': [
    /^working directory: /,
    () => {
      const before = process.cwd();
      process.chdir(tmpdir());
      return () => process.chdir(before);
    },
  ],
};

/** Handles of an earlier file of this process that are being closed would hide a new one. */
const noHandle = () => Object.keys(look().counts).every((name) => name.startsWith('listeners of '));

it.each(Object.keys(LEFT))('left behind - %s is reported until it is reverted', async (name) => {
  const [pattern, leave] = LEFT[name] as [RegExp, Left];
  await waitFor(noHandle, { state: () => look().counts });
  const before = look();
  const left = () => leftBehind(before, look());
  const putBack = await leave();
  try {
    // Another handle of this process may be open at one look.
    await waitFor(left, { until: (found) => found.length === 1 && pattern.test(found[0] ?? '') });
  } finally {
    await putBack();
  }
  await waitFor(() => left().length === 0, { state: left });
});

it('left behind - every tier whose files share a process is looked at', () => {
  const shared = (config.test?.projects ?? []).flatMap((project) => {
    const tier = (project as { test: { name: string; isolate?: boolean; setupFiles?: string[] } }).test;
    return tier.isolate === false ? [[tier.name, tier.setupFiles?.includes('tools/left-behind-setup.ts')]] : [];
  });
  const tiers = ['unit', 'kernel', 'bus', 'cluster', 'bus-newest', 'cluster-newest'];
  expect(shared).toEqual(tiers.map((name) => [name, true]));
});
