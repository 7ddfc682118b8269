// Modes, states and precedence: the vector under which a packet that violates several is counted,
// and the packets that audit lets pass.
import { FOREVER_NS, type Mode, type Vector } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, icmpv6, ipv4, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { ATTACKER, allModes, type Counts, RECEIVER } from './harness/node.ts';
import { useNode } from './harness/use-node.ts';

const FORGED = { mac: '02:00:00:00:77:99', ipv4: '10.77.0.99', ipv6: 'fd77::99' };
const to = (packet: Buffer, type: number, source: string = ATTACKER.mac): Buffer =>
  ethernet({ source, destination: RECEIVER.mac, type }, packet);
const four = (source: string, ports: [number, number] = [1, 2], mac?: string): Buffer =>
  to(ipv4({ source, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(...ports)), ETHERTYPE.ipv4, mac);

const plain = four(ATTACKER.ipv4);
const forged = four(FORGED.ipv4);
/** Violates ipv4-source (0), source-mac (2) and dhcp-server (7). */
const threefold = four(FORGED.ipv4, [67, 68], FORGED.mac);
/** Violates router-advert (5) and link-local (15). */
const advert = to(
  ipv6(
    { source: 'fe80::99', destination: 'ff02::1', next: PROTOCOL.icmpv6, hopLimit: 255 },
    icmpv6(134, Buffer.alloc(12)),
  ),
  ETHERTYPE.ipv6,
);
const tagged = ethernet(
  { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4, tags: [{}] },
  ipv4({ source: FORGED.ipv4, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(1, 2)),
);

describe('modes', () => {
  const node = useNode();

  const setUnknown = (unknownMode: Mode) =>
    node.agent.call('object.maps.setSettings', { sampleBurst: 8, samplesPerSecond: 10, unknownMode });

  type Case = [name: string, frame: Buffer, modes: Partial<Record<Vector, Mode>>, lands: boolean, counts: Counts];
  const cases: Case[] = [
    ['the first of three enforced is counted', threefold, {}, false, { 'ipv4-source drop': 1 }],
    ['the first is off', threefold, { 'ipv4-source': 'off' }, false, { 'source-mac drop': 1 }],
    [
      'the first is audited: it is counted, and the next drops',
      threefold,
      { 'ipv4-source': 'audit' },
      false,
      { 'ipv4-source audit': 1, 'source-mac drop': 1 },
    ],
    [
      'two are audited: the first is counted, the third drops',
      threefold,
      { 'ipv4-source': 'audit', 'source-mac': 'audit' },
      false,
      { 'ipv4-source audit': 1, 'dhcp-server drop': 1 },
    ],
    [
      'an audited one after the enforced is not counted',
      threefold,
      { 'source-mac': 'audit', 'dhcp-server': 'audit' },
      false,
      { 'ipv4-source drop': 1 },
    ],
    [
      'all audited: it passes and the first is counted',
      threefold,
      { 'ipv4-source': 'audit', 'source-mac': 'audit', 'dhcp-server': 'audit' },
      true,
      { 'ipv4-source audit': 1 },
    ],
    [
      'all off: it passes uncounted',
      threefold,
      { 'ipv4-source': 'off', 'source-mac': 'off', 'dhcp-server': 'off' },
      true,
      {},
    ],
    [
      'audit of link-local does not hide the advertisement',
      advert,
      { 'link-local': 'audit' },
      false,
      { 'router-advert drop': 1 },
    ],
    [
      'advertisements off: the source is still checked',
      advert,
      { 'router-advert': 'off' },
      false,
      { 'link-local drop': 1 },
    ],
    [
      'audit of tags does not hide the source behind them',
      tagged,
      { 'vlan-tag': 'audit' },
      false,
      { 'ipv4-source drop': 1 },
    ],
    [
      'audit of the source does not hide the tag',
      tagged,
      { 'ipv4-source': 'audit' },
      false,
      { 'ipv4-source audit': 1, 'vlan-tag drop': 1 },
    ],
    ['an ordinary packet', plain, {}, true, {}],
  ];
  it.each(cases)('precedence - %s', async (_, frame, modes, lands, counts) => {
    node.forgetLanded();
    await node.send(frame);
    await node.fence();
    expect(node.landed(frame), 'control').toBe(1);
    await using guarded = await node.guard(node.pods.attacker, { modes: allModes('enforce', modes) });
    node.forgetLanded();
    await node.send(frame);
    await node.fence();
    expect(node.landed(frame)).toBe(lands ? 1 : 0);
    expect(await guarded.counts()).toEqual(counts);
    expect(await guarded.samples()).toHaveLength(Object.keys(counts).length);
  });

  it('break-glass - enforce acts as audit until the time is over, then as enforce again', async () => {
    await using guarded = await node.guard(node.pods.attacker, { auditUntilNs: FOREVER_NS });
    node.forgetLanded();
    await node.send(forged, 2);
    await node.fence();
    expect(node.landed(forged)).toBe(2);
    expect(await guarded.counts()).toEqual({ 'ipv4-source audit': 2 });
    await guarded.update({ auditUntilNs: 1n });
    await node.send(forged, 3);
    await node.fence();
    expect(node.landed(forged)).toBe(2);
    expect(await guarded.counts()).toEqual({ 'ipv4-source audit': 2, 'ipv4-source drop': 3 });
  });

  it('break-glass - ends by the clock', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const now = () => node.agent.call<bigint>('bpf.boottimeNs');
    // Longer than a machine may be blocked plus the longest wait of a test.
    await guarded.update({ auditUntilNs: (await now()) + 60_000_000_000n });
    await node.send(forged);
    await guarded.counted({ 'ipv4-source audit': 1 });
    await guarded.update({ auditUntilNs: (await now()) + 500_000_000n });
    await waitFor(
      async () => {
        await node.send(forged);
        return guarded.counts();
      },
      { what: 'enforced again', until: (counts) => (counts['ipv4-source drop'] ?? 0) > 0 },
    );
  });

  it('states - each state has separate counters', async () => {
    await using guarded = await node.guard(node.pods.attacker, { state: 'provisional' });
    await node.send(forged, 2);
    await node.fence();
    await guarded.update({ state: 'programmed' });
    await node.send(forged, 3);
    await node.fence();
    expect(await guarded.cells()).toMatchObject([
      { vector: 'ipv4-source', action: 'drop', state: 'provisional', packets: 2n, skbs: 2n },
      { vector: 'ipv4-source', action: 'drop', state: 'programmed', packets: 3n, skbs: 3n, bytes: 150n },
    ]);
  });

  const unknown: [mode: Mode, lands: boolean, counts: Counts][] = [
    ['off', true, {}],
    ['audit', true, { 'unknown-interface audit': 2 }],
    ['enforce', false, { 'unknown-interface drop': 2 }],
  ];
  it.each(unknown)('unknown - an interface without a known pod, %s', async (mode, lands, counts) => {
    await setUnknown(mode);
    await using guarded = await node.guard(node.pods.attacker, { state: 'unknown', mac: null, ipv4: null, ipv6: null });
    node.forgetLanded();
    await node.send(plain);
    await node.send(forged);
    if (lands) await node.fence();
    const fence = lands && mode === 'audit' ? { 'unknown-interface audit': 3 } : counts;
    await guarded.counted(fence);
    expect([plain, forged].map((one) => node.landed(one))).toEqual(lands ? [1, 1] : [0, 0]);
  });

  it.each(unknown)('no record - %s', async (mode, lands) => {
    await setUnknown(mode);
    await using guarded = await node.guard(node.pods.attacker);
    const losses = async () =>
      Number((await node.agent.call<Record<string, bigint>>('object.maps.losses'))['no-iface']);
    await node.agent.call('object.maps.ifaces.delete', guarded.key.ifindex);
    const before = await losses();
    node.forgetLanded();
    await node.send(plain);
    await waitFor(losses, { what: 'counted as loss', until: (count) => count === before + 1 });
    await waitFor(() => node.landed(plain), {
      what: 'the packet to land',
      until: (count) => count === (lands ? 1 : 0),
    });
  });

  it('no counters entry - the decision stays the same, the loss is counted', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.agent.call('object.maps.counters.delete', guarded.key);
    const losses = async () =>
      Number((await node.agent.call<Record<string, bigint>>('object.maps.losses'))['no-counter']);
    const before = await losses();
    node.forgetLanded();
    await node.send(forged, 2);
    await node.send(plain);
    await node.fence();
    expect(await losses()).toBe(before + 2);
    expect([forged, plain].map((one) => node.landed(one))).toEqual([0, 1]);
  });
});
