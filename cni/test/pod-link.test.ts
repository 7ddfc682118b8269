// The host side of a pod's interface in real network namespaces: taken only from the runtime's own namespace.
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureProgram } from '../build.ts';
import { runPlugin, ScriptedCollector } from './run-plugin.ts';

const prefix = `bcl${process.pid}`;
const [host, pod, third] = [`${prefix}h`, `${prefix}p`, `${prefix}t`];
const ip = (...words: string[]) => {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
};
const isRoot = process.getuid?.() === 0;

describe('pod side of an interface', () => {
  let plugin = '';
  beforeEach((context) => context.skip(!isRoot, 'needs root'));
  beforeAll(() => {
    if (!isRoot) return;
    plugin = ensureProgram();
    for (const name of [host, pod, third]) ip('netns', 'add', name);
    // Both peers are the first device of their namespace, so both have index 2.
    for (const [name, peerNetns] of [
      ['eth0', host],
      ['net1', third],
    ] as const)
      ip('link', 'add', name, 'netns', pod, 'type', 'veth', 'peer', 'name', 'peer0', 'netns', peerNetns);
  });
  afterAll(() => {
    for (const name of [host, pod, third]) spawnSync('ip', ['netns', 'del', name]);
  });

  const podLinkOf = async (ifName: string): Promise<Record<string, unknown>> => {
    await using collector = new ScriptedCollector();
    await collector.listen(() => ({ outcome: 'guarded', reason: '' }));
    const { code, stdout } = await runPlugin({
      plugin,
      wrap: ['nsenter', `--net=/run/netns/${host}`],
      input: { cniVersion: '1.0.0', name: 'n', socket: collector.socket, failurePolicy: 'closed', prevResult: {} },
      env: { CNI_NETNS: `/run/netns/${pod}`, CNI_IFNAME: ifName, PATH: process.env['PATH'] },
    });
    expect([code, stdout]).toEqual([0, '{"cniVersion":"1.0.0"}']);
    return collector.requests[0]?.['podLink'] as Record<string, unknown>;
  };

  it('control - the peer in the namespace of the runtime is the host side', async () => {
    expect(await podLinkOf('eth0')).toMatchObject({ hostIfindex: 2, mac: expect.stringMatching(/:/) });
  });

  it('a peer in a third namespace is none, though it has the index of a host side', async () => {
    expect(await podLinkOf('net1')).toMatchObject({ hostIfindex: 0 });
  });
});
