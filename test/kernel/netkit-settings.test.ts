// A netkit pair whatever the CNI plugin chose for it: policies of both ends, and scrubbing. Forged
// frames are dropped and counted, plain ones land. Needs Linux 6.7: BAILIFF_VM_FILES=netkit-settings.
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FORGED } from './harness/ipv4.ts';
import { ATTACKER, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

const TIMES = 3;
const why = noNetkit();
const SETTINGS = [
  { primary: 'forward', peer: 'forward scrub none' },
  { primary: 'blackhole', peer: 'forward' },
  { primary: 'forward', peer: 'blackhole' },
  { primary: 'blackhole scrub none', peer: 'blackhole scrub none' },
];

let node: TestNode;
beforeAll(async () => {
  if (why !== '') return;
  node = await TestNode.start({ stacks: true });
  await node.open();
});
afterAll(() => node?.[Symbol.asyncDispose]());

describe.each(['l2', 'l3'] as const)('netkit in mode %s', (mode) => {
  beforeEach((context) => {
    if (why !== '') context.skip(why);
  });

  it.for(SETTINGS)('$primary, its peer $peer', async (words, context) => {
    const probe = ['link', 'add', 'probe0', 'type', 'netkit', 'mode', mode, ...words.primary.split(' '), 'peer'];
    const lacks = await commandIn(node.netns, 'ip', ...probe, ...words.peer.split(' '), 'name', 'probe1').then(
      () => '',
      ({ stderr }: { stderr: string }) => stderr.trim(),
    );
    if (lacks !== '') context.skip(`optional: not possible here: ${lacks}`);
    await commandIn(node.netns, 'ip', 'link', 'del', 'probe0');
    await node.useNetkit(mode, { ends: words });
    const { attacker } = node.pods;
    const frame = (source: string): Buffer => {
      const ends = { source, destination: RECEIVER.ipv4 };
      const packet = ipv4({ ...ends, protocol: PROTOCOL.udp }, udp(4000, 9, Buffer.from(source), ends));
      return ethernet({ source: attacker.identity.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 }, packet);
    };
    const opens = words.peer.includes('blackhole') ? 0 : TIMES;
    await node.send(frame(FORGED), TIMES);
    if (opens > 0)
      await waitFor(() => node.landed(frame(FORGED)), { what: 'control', until: (landed) => landed === TIMES });
    node.forgetLanded();

    await using guarded = await node.guard(attacker);
    await node.send(frame(FORGED), TIMES);
    await node.send(frame(ATTACKER.ipv4), TIMES);
    await waitFor(() => node.landed(frame(ATTACKER.ipv4)), { what: 'plain', until: (landed) => landed === TIMES });
    expect(node.landed(frame(FORGED))).toBe(0);
    expect((await guarded.counts())['ipv4-source drop']).toBe(TIMES);
  });
});
