// Frames that a CNI hands to a pod past its guard: the counters of both ends of the pair tell them from
// all others, exactly, and while traffic flows.
import { release } from 'node:os';
import type { LinkRecord } from '@bailiff/bpf';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { framesPastGuard } from '../../apps/collector/src/packets/subjects/past-guard.ts';
import { datagram } from './harness/ipv4.ts';
import { ATTACKER } from './harness/node.ts';
import { foreignObject } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

const FRAMES = 50;
const plain = datagram(ATTACKER.ipv4);

const node = useNode();

/** As the collector reads it: the pod's end first. */
async function pastGuard(): Promise<{ past: number; received: number }> {
  const link = (ifindex: number, targetNsid?: number) =>
    node.agent.call<LinkRecord>('bpf.getLink', ifindex, targetNsid === undefined ? {} : { targetNsid });
  const { ifindex } = node.pods.receiver;
  const { peerIfindex, linkNetnsid } = await link(ifindex);
  const pod = await link(peerIfindex as number, linkNetnsid as number);
  return { past: framesPastGuard(pod, await link(ifindex)), received: pod.rxPackets ?? 0 };
}

it('past the guard - no frame of the bridge counts, also while frames flow; each one of bpf_redirect_peer does', async (context) => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < 6 || (major === 6 && minor < 7)) context.skip('optional: Linux counts such frames since 6.7');
  const { attacker, receiver } = node.pods;
  const before = await pastGuard();
  const sending = node.send(plain, FRAMES);
  for (let look = 0; look < 10; look += 1) expect((await pastGuard()).past).toBe(0);
  await sending;
  await node.fence();
  const { past, received } = await pastGuard();
  expect([past, received - before.received]).toEqual([0, expect.any(Number)]);
  expect(received - before.received, 'control: they were received').toBeGreaterThanOrEqual(FRAMES);

  const words = [foreignObject(), attacker.ifindex, 'ingress', 'tail', 'redirect_peer', receiver.ifindex];
  const foreign = await node.agent.call<number>('own.attachForeign', ...words);
  await node.send(plain, FRAMES);
  await node.fence();
  const redirected = Number(await node.agent.call<bigint>('own.counted', foreign));
  expect(redirected).toBeGreaterThanOrEqual(FRAMES);
  await waitFor(async () => (await pastGuard()).past === redirected, {
    what: `${redirected} frames past the guard`,
    state: pastGuard,
  });
});
