// Frames whose packets are a list of buffers, one for each segment, as SCTP sends them. The kernel ends
// where it segments such a frame after a program moved a part of the list into the linear part.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RECEIVER, TestNode } from './harness/node.ts';
import { commandIn, foreignObject } from './harness/processes.ts';
import { sendBySctp } from './harness/sctp.ts';

const BYTES = 200_000;
const ONE_PACKET = 1500;

describe('lists of segments', () => {
  let node: TestNode;
  let hasSctp = false;
  let place: 'tail' | 'clsact';
  beforeAll(async () => {
    node = await TestNode.start({ stacks: true });
    place = (await node.open()).mode === 'tcx' ? 'tail' : 'clsact';
    hasSctp = (await sendBySctp(node, RECEIVER.ipv4, 1)) !== null;
  });
  beforeEach((context) => {
    if (!hasSctp) context.skip('optional: this kernel has no SCTP');
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  it.each([RECEIVER.ipv4, RECEIVER.ipv6])('sctp to %s - arrives, also where the node segments it', async (address) => {
    const { attacker, receiver } = node.pods;
    await using sending = await node.guard(attacker);
    await using answering = await node.guard(receiver);
    const last = [foreignObject(), attacker.ifindex, 'ingress', place, 'count_lists'] as const;
    const lists = await node.agent.call<number>('own.attachForeign', ...last);
    expect(await sendBySctp(node, address, BYTES)).toEqual([BYTES, BYTES]);
    expect(await node.agent.call('own.counted', lists), 'lists that the guard left as they are').toBeGreaterThan(0n);

    const { netns } = node;
    await commandIn(netns, 'ip', 'link', 'set', receiver.hostInterface, 'gso_max_size', String(ONE_PACKET));
    expect(await sendBySctp(node, address, BYTES)).toEqual([BYTES, BYTES]);
    await commandIn(netns, 'ip', 'link', 'set', receiver.hostInterface, 'gso_max_size', '65536');
    await node.agent.call('own.detachForeign');
    expect([await sending.counts(), await answering.counts()]).toEqual([{}, {}]);
  });
});
