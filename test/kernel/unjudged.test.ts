// Frames that no program judged are found while their pod sends others without a pause. Without the program at
// the pod's end, frames by an ifb device are such ones.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { throughIfb } from '../support/ifb.ts';
import { Collector, START_MS } from './harness/collector.ts';
import { datagram, FORGED } from './harness/ipv4.ts';
import { ATTACKER, FrameSender, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { datagramFrom, MARKER } from './harness/ways.ts';

/** Fewer than can wait in the kernel of a machine with one processor. */
const FRAMES = 500;
const BATCH = 1_000;

it('unjudged frames - a pod that never pauses does not hide them', { timeout: START_MS }, async () => {
  await using node = await TestNode.start();
  await using collector = new Collector(node);
  await collector.bind();
  const { identity, netns } = node.pods.attacker;
  const above = ['ip link add link eth0 name up0 type macvlan mode bridge', 'ip link set up0 up', ...throughIfb('up0')];
  await commandIn(netns, 'sh', '-ec', above.join('\n'));
  await using marked = new FrameSender(netns, ['push', 'up0', '0']);
  const found = (what: string, atLeast: number) =>
    waitFor(() => collector.stored().occurrences, {
      what,
      timeoutMs: 20_000,
      until: (occurrences) => (occurrences['unjudged/provisional'] ?? 0) >= atLeast,
    });

  let isSending = true;
  let batches = 0;
  const others = (async () => {
    for (; isSending; batches++) await node.send(datagram(ATTACKER.ipv4), BATCH);
  })();
  await marked.send(datagramFrom(FORGED, identity.mac), FRAMES);
  const before = batches;
  // What is judged between the two counters hides some.
  await found('most of them', FRAMES / 2);
  expect(batches).toBeGreaterThan(before);
  isSending = false;
  await others;
  expect(await found('all of them', FRAMES)).toEqual({ 'unjudged/provisional': FRAMES });
  expect(node.landedWith(MARKER)).toBe(FRAMES);
});
