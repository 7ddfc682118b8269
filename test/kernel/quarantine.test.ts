// Quarantine in both directions: the packets that it drops, those that still pass, and its end by
// time.
import { FOREVER_NS } from '@bailiff/bpf';
import {
  arp,
  ETHERTYPE,
  ethernet,
  fragmentHeader,
  type Ipv4Fields,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  solicitedNode,
  TCP_FLAGS,
  tcp,
  udp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { ATTACKER, allModes, type Guarded, NODE, RECEIVER } from './harness/node.ts';
import { useNode } from './harness/use-node.ts';

/** Neither a node's nor allowed. */
const ELSEWHERE = { ipv4: '10.77.0.50', ipv6: 'fd77::50' };
/** In quarantine.allow. */
const ALLOWED = { ipv4: '10.77.9.9', ipv6: 'fd99::9' };
const THIS_NODE = { ipv4: '10.77.8.1', ipv6: 'fd88::1' };
const OTHER_NODE = { ipv4: '10.77.8.2', ipv6: 'fd88::2' };
const PROBE = 8080;
/** Longer than a machine may be blocked plus the longest wait of a test. */
const MINUTE_NS = 60_000_000_000n;
const SOON_NS = 500_000_000n;
const { syn, ack } = TCP_FLAGS;

interface Parties {
  readonly source: string;
  readonly destination: string;
}

const frame = (type: number, packet: Buffer, tags?: { tci: number }[]): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type, tags }, packet);

/**
 * The attacker sends the frames of both directions; the receiver cannot tell where they entered the
 * bridge.
 */
function builders({ source, destination }: Parties) {
  const is6 = source.includes(':');
  const wrap = (protocol: number, payload: Buffer, more: Partial<Ipv4Fields> = {}): Buffer =>
    is6
      ? frame(ETHERTYPE.ipv6, ipv6({ source, destination, next: protocol, hopLimit: more.ttl }, payload))
      : frame(ETHERTYPE.ipv4, ipv4({ source, destination, protocol, ...more }, payload));
  return {
    tcp: (from: number, to: number, flags: number) => wrap(PROTOCOL.tcp, tcp({ source: from, destination: to, flags })),
    udp: (from: number, to: number) => wrap(PROTOCOL.udp, udp(from, to)),
    echo: () => (is6 ? wrap(PROTOCOL.icmpv6, icmpv6(128)) : wrap(PROTOCOL.icmp, icmp(8))),
    laterFragment: () =>
      is6
        ? wrap(PROTOCOL.fragment, Buffer.concat([fragmentHeader(PROTOCOL.tcp, 64, false), Buffer.alloc(8)]))
        : wrap(PROTOCOL.tcp, Buffer.alloc(8), { offset: 64 }),
    nd: (type: number, target: string) =>
      wrap(PROTOCOL.icmpv6, icmpv6(type, ndBody(target, macOption(type === 136 ? 2 : 1, ATTACKER.mac))), { ttl: 255 }),
  };
}

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];
const of = (party: { ipv4: string; ipv6: string }, family: Family): string => (family === 4 ? party.ipv4 : party.ipv6);

describe('quarantine', () => {
  const node = useNode();
  beforeAll(async () => {
    await node.agent.call('object.maps.nodeAddresses.replace', [
      ...[THIS_NODE.ipv4, THIS_NODE.ipv6].map((address) => ({ address, thisNode: true })),
      ...[OTHER_NODE.ipv4, OTHER_NODE.ipv6].map((address) => ({ address, thisNode: false })),
    ]);
    await node.agent.call('object.maps.allowedCidrs.replace', ['10.77.9.0/24', 'fd99::/16']);
  });

  const now = (): Promise<bigint> => node.agent.call('bpf.boottimeNs');
  const probes = (guarded: Guarded): Promise<unknown> =>
    node.agent.call('object.maps.probePorts.replace', guarded.key, [
      { port: PROBE, protocol: 'tcp' },
      { port: PROBE, protocol: 'udp' },
    ]);

  /**
   * Sends each frame; the passing ones must land, and the counters must match the dropped ones
   * exactly.
   */
  async function judge(guarded: Guarded, vector: string, frames: { pass: Buffer[]; cut: Buffer[] }): Promise<void> {
    const { pass, cut } = frames;
    node.forgetLanded();
    for (const one of [...cut, ...pass]) await node.send(one);
    for (const [index, one] of pass.entries()) {
      await waitFor(() => node.landed(one), { what: `passing frame ${index}`, until: (count) => count === 1 });
    }
    await guarded.counted(cut.length === 0 ? {} : { [`${vector} drop`]: cut.length });
    expect(cut.map((one) => node.landed(one))).toEqual(cut.map(() => 0));
  }

  const outgoing = (family: Family) => {
    const source = of(ATTACKER, family);
    const to = (party: { ipv4: string; ipv6: string }) => builders({ source, destination: of(party, family) });
    const arpFrom = (sender: string, target: string) =>
      frame(ETHERTYPE.arp, arp({ senderMac: ATTACKER.mac, sender, target }));
    return {
      pass: [
        to(ALLOWED).tcp(4000, 443, syn),
        to(ALLOWED).echo(),
        to(ALLOWED).laterFragment(),
        ...(family === 4
          ? [arpFrom(ATTACKER.ipv4, ELSEWHERE.ipv4), arpFrom('0.0.0.0', ATTACKER.ipv4)]
          : [
              to(THIS_NODE).nd(136, ATTACKER.ipv6),
              to(THIS_NODE).nd(135, THIS_NODE.ipv6),
              to({ ...ELSEWHERE, ipv6: RECEIVER.linkLocal }).nd(136, ATTACKER.ipv6),
              to({ ...ELSEWHERE, ipv6: solicitedNode(ELSEWHERE.ipv6) }).nd(135, ELSEWHERE.ipv6),
              to({ ...ELSEWHERE, ipv6: 'ff02::1' }).nd(136, ATTACKER.ipv6),
            ]),
      ],
      cut: [
        to(ELSEWHERE).udp(4000, 4001),
        to(ELSEWHERE).tcp(4000, 80, syn),
        to(ELSEWHERE).echo(),
        // replies to probes that this node never made
        to(THIS_NODE).tcp(PROBE, 40_000, syn | ack),
        to(THIS_NODE).tcp(PROBE, 40_000, ack),
        to(THIS_NODE).tcp(PROBE, 40_000, TCP_FLAGS.rst),
        to(THIS_NODE).udp(PROBE, 40_000),
        to(THIS_NODE).tcp(PROBE, 40_000, syn),
        to(THIS_NODE).tcp(4000, PROBE, syn),
        to(THIS_NODE).tcp(4001, 40_000, ack),
        to(THIS_NODE).echo(),
        to(THIS_NODE).laterFragment(),
        to(OTHER_NODE).tcp(PROBE, 40_000, ack),
      ],
    };
  };

  it.each(FAMILIES)('from the pod, IPv%i - without quarantine everything lands', async (family) => {
    await using guarded = await node.guard(node.pods.attacker);
    await probes(guarded);
    const { pass, cut } = outgoing(family);
    await judge(guarded, 'quarantine-ingress', { pass: [...pass, ...cut], cut: [] });
  });

  it.each(FAMILIES)('from the pod, IPv%i - allowed CIDRs, ARP and ND pass, the rest is dropped', async (family) => {
    await using guarded = await node.guard(node.pods.attacker, { quarantineUntilNs: FOREVER_NS });
    await probes(guarded);
    await judge(guarded, 'quarantine-ingress', outgoing(family));
  });

  it('from the pod - forged ARP, tagged and malformed frames are not exempt, and forgeries stay forgeries', async () => {
    await using guarded = await node.guard(node.pods.attacker, {
      quarantineUntilNs: FOREVER_NS,
      modes: allModes('off', { 'quarantine-ingress': 'enforce', 'ipv4-source': 'enforce' }),
    });
    const toAllowed = ipv4({ source: ATTACKER.ipv4, destination: ALLOWED.ipv4, protocol: PROTOCOL.udp }, udp(1, 2));
    const cut = [
      frame(ETHERTYPE.arp, arp({ senderMac: ATTACKER.mac, sender: ELSEWHERE.ipv4, target: ELSEWHERE.ipv4 })),
      frame(ETHERTYPE.ipv4, toAllowed, [{ tci: 0 }]),
      frame(ETHERTYPE.ipv4, toAllowed.subarray(0, 24)),
      frame(0x88cc, toAllowed),
    ];
    const pass = [frame(ETHERTYPE.ipv4, toAllowed)];
    await judge(guarded, 'quarantine-ingress', { pass, cut });
    const forged = builders({ source: '10.77.0.99', destination: ELSEWHERE.ipv4 }).udp(1, 2);
    await node.send(forged);
    await guarded.counted({ 'quarantine-ingress drop': cut.length, 'ipv4-source drop': 1 });
  });

  it('from the pod - ::/0 allowed lets no IPv4 pass', async () => {
    await node.agent.call('object.maps.allowedCidrs.replace', ['::/0']);
    await using guarded = await node.guard(node.pods.attacker, { quarantineUntilNs: FOREVER_NS });
    const four = builders({ source: ATTACKER.ipv4, destination: ELSEWHERE.ipv4 }).udp(1, 2);
    const six = builders({ source: ATTACKER.ipv6, destination: ELSEWHERE.ipv6 }).udp(1, 2);
    await judge(guarded, 'quarantine-ingress', { pass: [six], cut: [four] });
    await node.agent.call('object.maps.allowedCidrs.replace', ['10.77.9.0/24', 'fd99::/16']);
  });

  const incoming = (family: Family) => {
    const destination = of(RECEIVER, family);
    const from = (party: { ipv4: string; ipv6: string }) => builders({ source: of(party, family), destination });
    const arpFor = (target: string) =>
      frame(ETHERTYPE.arp, arp({ senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target, operation: 2 }));
    const ndTo = (to: string, type: number, target: string) =>
      builders({ source: ATTACKER.linkLocal, destination: to }).nd(type, target);
    return {
      pass: [
        from(THIS_NODE).tcp(40_000, PROBE, TCP_FLAGS.rst),
        from(ALLOWED).tcp(443, 4000, syn | ack),
        from(ALLOWED).echo(),
        from(ALLOWED).laterFragment(),
        ...(family === 4
          ? [arpFor(RECEIVER.ipv4)]
          : [
              ndTo(solicitedNode(RECEIVER.ipv6), 135, RECEIVER.ipv6),
              ndTo(RECEIVER.linkLocal, 135, RECEIVER.linkLocal),
              ndTo(RECEIVER.ipv6, 136, ATTACKER.ipv6),
              ndTo('ff02::1', 136, ATTACKER.ipv6),
            ]),
      ],
      cut: [
        from(ELSEWHERE).udp(4000, 4001),
        from(ELSEWHERE).tcp(4000, PROBE, syn),
        from(ELSEWHERE).echo(),
        // not this node's own: it has no socket for them
        from(THIS_NODE).tcp(40_000, PROBE, syn),
        from(THIS_NODE).tcp(40_000, PROBE, ack),
        from(THIS_NODE).udp(40_000, PROBE),
        from(THIS_NODE).tcp(40_000, PROBE + 1, TCP_FLAGS.rst),
        from(THIS_NODE).echo(),
        from(THIS_NODE).laterFragment(),
        from(OTHER_NODE).tcp(40_000, PROBE, syn),
        ...(family === 4
          ? [arpFor(ELSEWHERE.ipv4)]
          : [
              ndTo(RECEIVER.linkLocal, 135, ELSEWHERE.ipv6),
              ndTo('ff02::2', 136, ATTACKER.ipv6),
              ndTo('ff02::1', 134, '::'),
            ]),
      ],
    };
  };

  it.each(FAMILIES)('to the pod, IPv%i - without quarantine everything lands', async (family) => {
    await using guarded = await node.guard(node.pods.receiver);
    const { pass, cut } = incoming(family);
    await judge(guarded, 'quarantine-egress', { pass: [...pass, ...cut], cut: [] });
  });

  it.each(FAMILIES)(
    'to the pod, IPv%i - resets of probes, allowed CIDRs, ARP and ND for it pass, the rest is dropped',
    async (family) => {
      await using guarded = await node.guard(node.pods.receiver, { quarantineUntilNs: FOREVER_NS });
      await probes(guarded);
      await judge(guarded, 'quarantine-egress', incoming(family));
      const samples = await guarded.samples();
      expect(samples[0]).toMatchObject({ vector: 'quarantine-egress', egress: true, first: true, expectedAddress: '' });
    },
  );

  it('until - quarantine ends by the clock, without user space', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const one = builders({ source: ATTACKER.ipv4, destination: ELSEWHERE.ipv4 }).udp(5000, 5001);
    await guarded.update({ quarantineUntilNs: (await now()) + MINUTE_NS });
    node.forgetLanded();
    await node.send(one);
    await guarded.counted({ 'quarantine-ingress drop': 1 });
    expect(node.landed(one)).toBe(0);
    await guarded.update({ quarantineUntilNs: (await now()) + SOON_NS });
    let sent = 0;
    await waitFor(
      async () => {
        await node.send(one);
        sent++;
        return node.landed(one);
      },
      { what: 'the end of quarantine', until: (count) => count > 0 },
    );
    await waitFor(() => node.landed(one), { what: 'all frames to be decided', until: (landed) => landed > 0 });
    const counts = await guarded.counts();
    expect(counts['quarantine-ingress drop']).toBeGreaterThanOrEqual(1);
    expect(counts['quarantine-ingress drop']).toBeLessThanOrEqual(sent);
  });

  it('until - a time in the past is no quarantine', async () => {
    await using guarded = await node.guard(node.pods.attacker, { quarantineUntilNs: 1n });
    const one = builders({ source: ATTACKER.ipv4, destination: ELSEWHERE.ipv4 }).udp(5000, 5001);
    await judge(guarded, 'quarantine-ingress', { pass: [one], cut: [] });
  });

  it('modes - quarantine in audit is counted and passes', async () => {
    const modes = allModes('enforce', { 'quarantine-ingress': 'audit' });
    await using guarded = await node.guard(node.pods.attacker, { quarantineUntilNs: FOREVER_NS, modes });
    const one = builders({ source: ATTACKER.ipv4, destination: ELSEWHERE.ipv4 }).udp(5000, 5001);
    node.forgetLanded();
    await node.send(one);
    await waitFor(() => node.landed(one), { what: 'the frame to land', until: (count) => count === 1 });
    await guarded.counted({ 'quarantine-ingress audit': 1 });
  });

  it('state unknown - quarantine stays in force, and so do its exemptions by address', async () => {
    await node.agent.call('object.maps.setSettings', { sampleBurst: 8, samplesPerSecond: 10, unknownMode: 'off' });
    const record = { state: 'unknown', mac: null, ipv4: null, ipv6: null, quarantineUntilNs: FOREVER_NS } as const;
    await using guarded = await node.guard(node.pods.attacker, record);
    const from = (destination: string) => builders({ source: ATTACKER.ipv4, destination }).udp(1, 2);
    const pass = [from(ALLOWED.ipv4)];
    await judge(guarded, 'quarantine-ingress', { pass, cut: [from(ELSEWHERE.ipv4), from(NODE.ipv4)] });
  });
});
