// Counts are exact, samples are bounded, and neither changes a decision.

import { ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, TCP_FLAGS, tcp, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { datagram, FORGED } from './harness/ipv4.ts';
import { ATTACKER, allModes, GSO, RECEIVER, TestNode } from './harness/node.ts';
import { useNode } from './harness/use-node.ts';

const FORGED6 = 'fd77::99';
const to = (packet: Buffer, type: number = ETHERTYPE.ipv4): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type }, packet);
const forged = datagram(FORGED);
const forged6 = to(
  ipv6({ source: FORGED6, destination: RECEIVER.ipv6, next: PROTOCOL.udp }, udp(1, 2)),
  ETHERTYPE.ipv6,
);

const datagram6 = (source: string): Buffer =>
  to(ipv6({ source, destination: RECEIVER.ipv6, next: PROTOCOL.udp }, udp(1, 2, Buffer.alloc(1452))), ETHERTYPE.ipv6);

describe('counting', () => {
  const node = useNode();

  const settings = (sampleBurst: number, samplesPerSecond: number) =>
    node.agent.call('object.maps.setSettings', { sampleBurst, samplesPerSecond, unknownMode: 'audit' });
  const seen = (slot: number) => node.agent.call<bigint>('object.maps.seen', slot);

  const SEGMENTS = 30;
  const SEGMENT_BYTES = 1000;
  const bulk = Buffer.alloc(SEGMENTS * SEGMENT_BYTES);
  const segments = tcp({ source: 1, destination: 2, flags: TCP_FLAGS.ack }, bulk);
  const over4 = (protocol: number, payload: Buffer) => (source: string) =>
    to(ipv4({ source, destination: RECEIVER.ipv4, protocol }, payload));
  const over6 = (next: number, payload: Buffer) => (source: string) =>
    to(ipv6({ source, destination: RECEIVER.ipv6, next }, payload), ETHERTYPE.ipv6);
  const large: [name: string, version: 4 | 6, frame: (source: string) => Buffer, type: number, head: number][] = [
    ['TCP in IPv4', 4, over4(PROTOCOL.tcp, segments), GSO.tcpv4, 54],
    ['UDP in IPv4', 4, over4(PROTOCOL.udp, udp(1, 2, bulk)), GSO.udp, 42],
    ['TCP in IPv6', 6, over6(PROTOCOL.tcp, segments), GSO.tcpv6, 74],
    ['UDP in IPv6', 6, over6(PROTOCOL.udp, udp(1, 2, bulk)), GSO.udp, 62],
  ];
  it.each(large)('gso - one large packet of %s counts as its packets on the wire', async (...row) => {
    const [, version, frame, type, head] = row;
    const gso = { gso: { size: SEGMENT_BYTES, type, head } };
    const attack = frame(version === 4 ? FORGED : FORGED6);
    const own = frame(ATTACKER[`ipv${version}`]);
    node.forgetLanded();
    await node.send(attack, 1, gso);
    await node.fence();
    expect(node.landed(attack), 'control: it arrives in one piece').toBe(1);

    await using guarded = await node.guard(node.pods.attacker);
    node.forgetLanded();
    await node.send(attack, 2, gso);
    await node.send(own, 1, gso);
    await node.fence();
    expect(node.landed(attack)).toBe(0);
    expect(node.landed(own)).toBe(1);
    const packets = BigInt(2 * SEGMENTS);
    expect(await guarded.cells()).toMatchObject([
      { vector: `ipv${version}-source`, action: 'drop', packets, skbs: 2n, bytes: BigInt(2 * attack.length) },
    ]);
    const [sample] = await guarded.samples();
    expect(sample).toMatchObject({ gsoSegments: SEGMENTS, lengthBytes: attack.length, sourcePort: 1 });
  });

  it('flood - every packet is dropped and counted, samples stay within burst and rate', async () => {
    const FLOOD = 20_000;
    const BURST = 8;
    await settings(BURST, 10);
    await using guarded = await node.guard(node.pods.attacker);
    const before = await seen(node.pods.attacker.slot);
    node.forgetLanded();
    const started = Date.now();
    await node.send(forged, FLOOD);
    await node.fence();
    const seconds = (Date.now() - started) / 1000;
    expect(await guarded.counts()).toEqual({ 'ipv4-source drop': FLOOD });
    expect(node.landed(forged)).toBe(0);
    // The fence adds one packet.
    expect(await seen(node.pods.attacker.slot)).toBe(before + BigInt(FLOOD) + 1n);
    const samples = await guarded.samples();
    expect(samples.length).toBeGreaterThanOrEqual(1 + BURST);
    expect(samples.length).toBeLessThanOrEqual(1 + BURST + Math.ceil(10 * seconds) + 1);
    expect(samples.filter(({ first }) => first)).toHaveLength(1);
    expect(samples[0]!.first).toBe(true);
  });

  it('flood - it does not use up the first sample of another vector or another pod', async () => {
    await settings(1, 0);
    await using attacker = await node.guard(node.pods.attacker);
    await using receiver = await node.guard(node.pods.receiver, {
      quarantineUntilNs: 2n ** 63n,
      modes: allModes('audit'),
    });
    await node.send(forged, 5_000);
    await node.send(forged6);
    await node.send(datagram(ATTACKER.ipv4));
    await attacker.counted({ 'ipv4-source drop': 5_000, 'ipv6-source drop': 1 });
    await receiver.counted({ 'quarantine-egress audit': 1 });
    const samples = await node.agent.call<{ ifindex: number; vector: string; first: boolean }[]>('own.drain');
    const of = (ifindex: number) => samples.filter((sample) => sample.ifindex === ifindex);
    expect(of(node.pods.attacker.ifindex).map(({ vector, first }) => [vector, first])).toEqual([
      ['ipv4-source', true],
      ['ipv4-source', false],
      ['ipv6-source', true],
    ]);
    expect(of(node.pods.receiver.ifindex)).toMatchObject([{ vector: 'quarantine-egress', first: true }]);
  });

  it('samples - tokens are refilled over time', async () => {
    await settings(2, 50);
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(forged, 100);
    await guarded.counted({ 'ipv4-source drop': 100 });
    const burst = (await guarded.samples()).length;
    expect(burst).toBeGreaterThanOrEqual(3);
    let sent = 100;
    await waitFor(
      async () => {
        await node.send(forged);
        sent++;
        return (await guarded.samples()).length;
      },
      { what: 'further samples', until: (count) => count > 0 },
    );
    await guarded.counted({ 'ipv4-source drop': sent });
  });

  it("samples - an interface's own rate overrides the node's", async () => {
    await settings(1, 0);
    await using own = await node.guard(node.pods.attacker, { sampling: { burst: 6, perSecond: 1 } });
    await node.send(forged, 100);
    await own.counted({ 'ipv4-source drop': 100 });
    const mine = (await own.samples()).length;
    expect(mine).toBeGreaterThanOrEqual(1 + 6);
    await own.update({ sampling: null });
    await node.send(forged, 50);
    await own.counted({ 'ipv4-source drop': 150 });
    expect((await own.samples()).length, "control: the node's tokens are never refilled").toBeLessThanOrEqual(1);
  });

  it('samples - a new generation of an interface starts with a first sample again', async () => {
    await settings(0, 0);
    for (const _ of [1, 2]) {
      await using guarded = await node.guard(node.pods.attacker);
      await node.send(forged, 10);
      await guarded.counted({ 'ipv4-source drop': 10 });
      expect(await guarded.samples()).toMatchObject([{ first: true }]);
    }
  });

  it('ring full - packets are still dropped and counted, the loss is counted, a first sample is tried again', async () => {
    await using small = await TestNode.start();
    await small.open({ ringSizeBytes: 4096 });
    await small.agent.call('object.maps.setSettings', { sampleBurst: 1000, samplesPerSecond: 0, unknownMode: 'audit' });
    await using guarded = await small.guard(small.pods.attacker);
    const losses = async () =>
      Number((await small.agent.call<Record<string, bigint>>('object.maps.losses'))['ring-full']);
    await small.send(forged, 500);
    await small.send(forged6, 5);
    await guarded.counted({ 'ipv4-source drop': 500, 'ipv6-source drop': 5 });
    // 4096 bytes hold 22 records of 176 and an 8-byte header.
    const room = Math.floor(4096 / 184);
    expect(await losses()).toBe(505 - room);
    expect(await guarded.samples()).toHaveLength(room);
    await small.send(forged6);
    await guarded.counted({ 'ipv4-source drop': 500, 'ipv6-source drop': 6 });
    expect(await guarded.samples()).toMatchObject([{ vector: 'ipv6-source', first: true }]);
  });

  it('seen - counts every skb that entered, passed or dropped', async () => {
    await using _guarded = await node.guard(node.pods.attacker);
    const before = await seen(node.pods.attacker.slot);
    await node.send(forged, 3);
    await node.send(datagram(ATTACKER.ipv4), 4);
    await node.fence();
    expect(await seen(node.pods.attacker.slot)).toBe(before + 8n);
    const link = await node.agent.call<{ rxPackets: number }>('bpf.getLink', node.pods.attacker.ifindex);
    expect(link.rxPackets).toBeGreaterThanOrEqual(8);
  });

  it('seen - the difference to rx_packets is exactly the unguarded packets', async () => {
    const rx = async () =>
      (await node.agent.call<{ rxPackets: number }>('bpf.getLink', node.pods.attacker.ifindex)).rxPackets;
    const rxBefore = await rx();
    const seenBefore = await seen(node.pods.attacker.slot);
    await node.send(datagram(ATTACKER.ipv4), 7);
    await node.fence();
    await using _guarded = await node.guard(node.pods.attacker);
    await node.send(forged, 5);
    await node.fence();
    const unguarded = BigInt((await rx()) - rxBefore) - ((await seen(node.pods.attacker.slot)) - seenBefore);
    expect(unguarded).toBe(8n);
  });

  // Lengths at which a cut frame has no tag or network header yet, claims more bytes than it has,
  // and is whole.
  const MTU = 1500;
  const lengths: [type: string, whole: Buffer, own: Buffer, last: string][] = [
    [
      'IPv4',
      datagram(FORGED, Buffer.alloc(MTU - 28)),
      datagram(ATTACKER.ipv4, Buffer.alloc(MTU - 28)),
      'ipv4-source drop',
    ],
    ['IPv6', datagram6(FORGED6), datagram6(ATTACKER.ipv6), 'ipv6-source drop'],
  ];
  it.each(lengths)(
    'lengths - a forged %s frame of every length is dropped, or rejected by the sending socket',
    async (...row) => {
      const [, whole, own, last] = row;
      await settings(8, 10);
      await using guarded = await node.guard(node.pods.attacker);
      let sent = 0;
      for (let length = 0; length <= 14 + MTU; length++) {
        const frame = whole.subarray(0, length);
        if (length < 14) {
          // A packet socket cannot send a packet without an Ethernet header.
          await expect(node.send(frame)).rejects.toThrow(/error 22/);
          continue;
        }
        await node.send(frame);
        sent++;
      }
      node.forgetLanded();
      await node.send(own);
      await node.fence();
      expect(node.landed(own)).toBe(1);
      expect(await guarded.counts()).toEqual({ 'malformed drop': sent - 1, [last]: 1 });
    },
  );
});
