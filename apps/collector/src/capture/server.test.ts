// Captures of a node are shared by its namespaces. No capture is taken here: without cgroups each
// request within the limits is refused as `no-cgroups`.
import type { PodIdentity } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { CaptureServer, MAX_A_MINUTE } from './server.ts';

const POD_INTERVAL_MS = 10_000;
const IN_LIMITS = 'no-cgroups';

function server() {
  let nowMs = 0;
  const made = new CaptureServer({
    cgroupRoot: '/nowhere',
    hostNetns: '',
    nowMicros: () => 0,
    bootMicros: () => 0,
    monotonicMs: () => nowMs,
    podOf: (uid) => ({ namespace: uid.split('/')[0] }) as PodIdentity,
    onResponse: () => {},
    onError: (error) => {
      throw error;
    },
  });
  const capture = async (podUid: string) => {
    const request = JSON.stringify({ podUid, arguments: 'none', first: [] });
    return (JSON.parse(await made.respond(Buffer.from(request))) as { refused: string }).refused;
  };
  const capturesOf = async (namespace: string, pods: number) => {
    let taken = 0;
    for (let i = 0; i < pods; i++) if ((await capture(`${namespace}/${i}`)) === IN_LIMITS) taken += 1;
    return taken;
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { capture, capturesOf, pass };
}

it('capture - a namespace with many pods leaves captures to others, and has its own again after a minute', async () => {
  const { capturesOf, pass } = server();
  const half = MAX_A_MINUTE / 2;
  expect(await capturesOf('tenant', 2 * MAX_A_MINUTE)).toBe(half);
  expect(await capturesOf('shop', 1)).toBe(1);
  expect(await capturesOf('third', MAX_A_MINUTE)).toBe(Math.ceil((half - 1) / 2));
  pass(60_000);
  expect(await capturesOf('tenant', 2 * MAX_A_MINUTE)).toBe(half);
});

it('capture - a pod again after its interval', async () => {
  const { capture, pass } = server();
  expect(await capture('shop/0')).toBe(IN_LIMITS);
  pass(POD_INTERVAL_MS - 1);
  expect(await capture('shop/0')).toBe('too-soon');
  pass(1);
  expect(await capture('shop/0')).toBe(IN_LIMITS);
});
