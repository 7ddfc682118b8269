// What the counters of an interface say on netkit, where the kernel counts a frame only after the guard has passed
// it. The same on veth pairs is the control. Needs Linux 6.7: BAILIFF_VM_FILES=netkit-counts.
import { FOREVER_NS, type LinkRecord, openPinnedMaps } from '@bailiff/bpf';
import { arp, ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { Collector, START_MS } from './harness/collector.ts';
import { BRIDGE, onNetkit } from './harness/layouts.ts';
import { ATTACKER, NODE, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { command } from './harness/processes.ts';
import { FRAMES, RedirectingPod } from './harness/redirecting-pod.ts';
import { unjudgedOf } from './harness/unjudged.ts';

const TIMES = 20;
const SLOW = { timeout: 4 * START_MS };
const datagram = (source: string): Buffer => {
  const ends = { source, destination: RECEIVER.ipv4 };
  const packet = ipv4({ ...ends, protocol: PROTOCOL.udp }, udp(4000, 9, undefined, ends));
  return ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 }, packet);
};
const plain = datagram(ATTACKER.ipv4);
const forged = datagram('10.77.0.99');

describe.each([BRIDGE, onNetkit(BRIDGE, 'l2')])('$name', (layout) => {
  const lacks = layout.netkit === undefined ? '' : noNetkit();
  beforeEach((context) => {
    if (lacks !== '') context.skip(lacks);
  });

  it('what other pods of a pod in quarantine do not get - is judged once', async () => {
    await using node = await TestNode.start({ layout });
    await node.open();
    const { attacker, receiver } = node.pods;
    await using guarded = await node.guard(attacker, { quarantineUntilNs: FOREVER_NS });
    await using _receiver = await node.guard(receiver);
    const before = await unjudgedOf(guarded);
    const request = arp({ operation: 1, senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: NODE.ipv4 });
    const to = { destination: 'ff:ff:ff:ff:ff:ff', source: ATTACKER.mac, type: ETHERTYPE.arp };
    await node.send(ethernet(to, request), TIMES);
    await guarded.counted({ 'quarantine-ingress drop': TIMES });
    expect((await unjudgedOf(guarded)) - before).toBe(0);
  });

  it('what a pod sent before its guard - is counted, whatever is dropped until it is bound', SLOW, async () => {
    await using node = await TestNode.start({ layout });
    await node.send(plain, TIMES);
    await using collector = new Collector(node);
    await collector.until('a guarded interface', ({ conservationBase }) => conservationBase !== null);
    {
      using open = openPinnedMaps(node.pinDir);
      open?.maps.setSettings({ ...open.maps.settings(), unknownMode: 'enforce' });
    }
    await node.send(plain, TIMES + 1);
    await collector.dropped('unknown-interface', TIMES + 1);
    expect((await collector.bind()).packetsBeforeGuard).toBe(TIMES);
  });

  it('what was dropped before a detachment - is not unjudged after it', SLOW, async () => {
    await using node = await TestNode.start({ layout });
    await using collector = new Collector(node);
    const { conservationBase: before } = await collector.bind();
    await node.send(forged, TIMES);
    await collector.dropped('ipv4-source', TIMES);
    await collector.run('detach', '--all');
    await collector.printed('detached by an operator');
    // They land: without programs, forged frames pass.
    await node.send(forged, 1);
    await waitFor(() => node.landed(forged), { what: 'control: a frame of an unguarded pod' });
    await collector.run('attach');
    const { conservationBase } = await collector.until('another base', (stored) => stored.conservationBase !== before);
    expect(conservationBase).toBe((before ?? 0) + 1);
  });
});

it(
  'frames that a program of the pod redirected to the host side before its guard - are counted',
  SLOW,
  async (context) => {
    if (noNetkit() !== '') context.skip(noNetkit());
    await using node = await TestNode.start({ stacks: true });
    await node.open();
    await RedirectingPod.listen(node);
    await using pod = await RedirectingPod.start(node, 'l2');
    expect(await pod.redirect(), 'control: without a guard they land').toBe(FRAMES);
    await node.reset();
    const { ifindex, netns } = node.pods.attacker;
    const end = await command('ip', '-n', netns, '-s', '-j', 'link', 'show', 'eth0');
    const sent = JSON.parse(end)[0].stats64.tx.packets;
    await using collector = new Collector(node);
    const { packetsBeforeGuard } = await collector.bind();
    const { rxPackets } = await node.agent.call<LinkRecord>('bpf.getLink', ifindex);
    expect([packetsBeforeGuard, rxPackets], 'the end of the pod does not count them').toEqual([
      sent + FRAMES,
      sent + FRAMES,
    ]);
  },
);
