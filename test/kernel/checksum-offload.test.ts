// Checksums that the kernel fills in after the decision about a frame. Allowed are the frame's own
// transport checksum, or one behind the outer header of an encapsulation. The kernel fills in a
// checksum when a frame leaves by a device without checksum offload, and when it fragments a
// packet.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { FOREVER_NS, spoofObjectPath } from '@bailiff/bpf';
import {
  arp,
  checksum,
  dhcp,
  ETHERTYPE,
  ethernet,
  extension,
  gre,
  icmp,
  icmpv6,
  ipv4,
  ipv4Bytes,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  tcp,
  udp,
  vxlan,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withoutOffload } from '../../libs/bpf/src/spoof/offload.ts';
import { FORGED, frame, inner4, innerFrame, own, packet } from './harness/ipv4.ts';
import { ATTACKER, allModes, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { leftToKernel, type Turned, turned } from './harness/offload.ts';
import { commandIn } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

const TIMES = 3;
const own6 = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const frame6 = (bytes: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, bytes);
const packet6 = (next: number, payload: Buffer, fields = {}): Buffer =>
  frame6(ipv6({ ...own6, next, hopLimit: 255, ...fields }, payload));
const datagram = (destination = 9, payload: Buffer = Buffer.alloc(16)): Buffer => udp(4000, destination, payload);
const hex = (text: string): number => Number.parseInt(text.replace(/\W/g, ''), 16);
const frameOf = (type: number, payload: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type }, payload);
const tagged = (type: number, payload: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type, tags: [{ tci: 5 }] }, payload);

const [IP, L4, L4_6] = [14, 34, 54];
/** Offset of the low half of an address. */
const SOURCE = IP + 14;
const DESTINATION = IP + 18;
const SOURCE_6 = IP + 22;
const FORGED_LOW = hex('00:63');

interface Attack {
  readonly name: string;
  readonly turned: Turned;
  readonly modes?: Parameters<typeof allModes>[1];
}

const attacks: Attack[] = [
  { name: 'IPv4 source, UDP', turned: turned(packet({}, datagram()), SOURCE, FORGED_LOW) },
  {
    name: 'IPv4 source, TCP',
    turned: turned(packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 })), SOURCE, FORGED_LOW, {
      start: 20,
    }),
  },
  { name: 'IPv4 source, echo', turned: turned(packet({ protocol: PROTOCOL.icmp }, icmp(8)), SOURCE, FORGED_LOW) },
  { name: 'IPv4 source, a protocol not looked into', turned: turned(packet({ protocol: 253 }), SOURCE, FORGED_LOW) },
  {
    name: 'IPv4 source, of a packet with options',
    turned: turned(packet({ options: Buffer.from([148, 4, 0, 0]) }), SOURCE, FORGED_LOW),
  },
  { name: 'IPv4 source, of a later fragment', turned: turned(packet({ offset: 64 }), SOURCE, FORGED_LOW) },
  {
    name: 'IPv4 source, of a first fragment',
    turned: turned(packet({ moreFragments: true }, datagram()), SOURCE, FORGED_LOW),
  },
  { name: 'IPv4 destination', turned: turned(packet({}, datagram()), DESTINATION, FORGED_LOW) },
  { name: 'protocol 253 to IPIP', turned: turned(packet({ protocol: 253 }, inner4), IP + 8, hex('40:04')) },
  { name: 'UDP port 9 to 4789', turned: turned(packet({}, datagram(9, vxlan(innerFrame))), L4 + 2, 4789) },
  { name: 'UDP port 68 to 67', turned: turned(packet({}, udp(4000, 4000)), L4, 67) },
  {
    name: 'an echo reply to a redirect',
    turned: turned(packet({ protocol: PROTOCOL.icmp }, icmp(0)), L4, hex('05:01')),
  },
  {
    name: 'the TCP flags',
    turned: turned(packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 })), L4 + 12, hex('50:12')),
  },
  { name: 'IPv6 source, UDP', turned: turned(packet6(PROTOCOL.udp, datagram()), SOURCE_6, 0x99) },
  { name: 'IPv6 source, echo', turned: turned(packet6(PROTOCOL.icmpv6, icmpv6(128)), SOURCE_6, 0x99) },
  {
    name: 'the target of a neighbour advertisement',
    turned: turned(
      packet6(PROTOCOL.icmpv6, icmpv6(136, ndBody(ATTACKER.ipv6, macOption(2, ATTACKER.mac), 0x20000000))),
      L4_6 + 22,
      0x99,
    ),
  },
  {
    name: 'the type of an ICMPv6 message',
    turned: turned(packet6(PROTOCOL.icmpv6, icmpv6(129, Buffer.alloc(16))), L4_6, hex('86:00')),
  },
  {
    name: 'the sender of ARP',
    turned: turned(
      ethernet(
        { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.arp },
        arp({ senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4, operation: 2 }),
      ),
      IP + 16,
      FORGED_LOW,
    ),
  },
  {
    name: 'the hardware address in a DHCP request',
    turned: turned(
      frame(
        ipv4(
          { source: '0.0.0.0', destination: '255.255.255.255', protocol: PROTOCOL.udp },
          udp(68, 67, dhcp(ATTACKER.mac)),
        ),
      ),
      L4 + 8 + 32,
      hex('77:99'),
    ),
    modes: { 'dhcp-client': 'off' },
  },
  {
    name: 'the address in a DHCP release',
    turned: turned(
      packet({}, udp(68, 67, dhcp(ATTACKER.mac, { message: 7, client: ATTACKER.ipv4 }))),
      L4 + 8 + 14,
      FORGED_LOW,
    ),
  },
  {
    name: 'IPv4 source behind a tag',
    turned: turned(
      tagged(ETHERTYPE.ipv4, ipv4({ ...own, protocol: PROTOCOL.udp }, datagram())),
      SOURCE + 4,
      FORGED_LOW,
    ),
    modes: { 'vlan-tag': 'off' },
  },
  {
    name: 'IPv4 source, and a transport header that is too short',
    turned: turned(packet({ protocol: PROTOCOL.tcp }, Buffer.alloc(8)), SOURCE, FORGED_LOW),
    modes: { malformed: 'off' },
  },
];

/** A frame whose own checksum, at `offset` of the header at `start`, is left to the kernel. */
const honest = (name: string, frame: Buffer, start: number, offset: number, modes?: Attack['modes']) => ({
  name,
  modes,
  turned: leftToKernel(frame, start, offset),
});
const option = { options: Buffer.from([148, 4, 0, 0]) };
const innerTcp = ipv4({ ...own, protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 }, undefined, own));
const innerEthernet = ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 }, innerTcp);
const greWithChecksum = Buffer.concat([Buffer.from([0x80, 0, 8, 0, 0, 0, 0, 0]), innerTcp]);
greWithChecksum.writeUInt16BE(checksum(greWithChecksum), 4);
const tunnels = { tunnel: 'off', 'tunnel-other': 'audit' } as const;
const segments = tcp({ source: 1, destination: 2 }, Buffer.alloc(200), own);

const legal = [
  honest('UDP over IPv4', packet({}, udp(4000, 9, undefined, own)), L4, 6),
  honest('TCP over IPv4', packet({ protocol: PROTOCOL.tcp }, segments), L4, 16),
  honest('TCP behind options', packet({ ...option, protocol: PROTOCOL.tcp }, segments), L4 + 4, 16),
  honest('ICMP', packet({ protocol: PROTOCOL.icmp }, icmp(8)), L4, 2),
  honest('UDP over IPv6', packet6(PROTOCOL.udp, udp(4000, 9, undefined, own6)), L4_6, 6),
  honest('TCP over IPv6', packet6(PROTOCOL.tcp, tcp({ source: 1, destination: 2 }, undefined, own6)), L4_6, 16),
  honest('ICMPv6', packet6(PROTOCOL.icmpv6, icmpv6(128, undefined, own6)), L4_6, 2),
  honest(
    'UDP behind an extension header',
    packet6(PROTOCOL.destinationOptions, Buffer.concat([extension(PROTOCOL.udp), udp(4000, 9, undefined, own6)])),
    ...([L4_6 + 8, 6] as const),
  ),
  honest('a first fragment', packet({ moreFragments: true }, udp(4000, 9, undefined, own)), L4, 6),
  honest('SCTP', packet({ protocol: PROTOCOL.sctp }, Buffer.alloc(16, 7)), L4, 8),
  honest(
    'UDP behind a tag',
    tagged(ETHERTYPE.ipv4, ipv4({ ...own, protocol: PROTOCOL.udp }, udp(4000, 9, undefined, own))),
    ...([L4 + 4, 6, { 'vlan-tag': 'off' }] as const),
  ),
  honest('GRE with a checksum', packet({ protocol: PROTOCOL.gre }, greWithChecksum), L4, 4, { ...tunnels }),
  honest('TCP in GRE', packet({ protocol: PROTOCOL.gre }, gre(0x0800, innerTcp)), L4 + 24, 16, { ...tunnels }),
  honest('TCP in IPIP', packet({ protocol: PROTOCOL.ipip }, innerTcp), L4 + 20, 16, { ...tunnels }),
  honest('TCP in VXLAN', packet({}, udp(4000, 4789, vxlan(innerEthernet))), L4 + 8 + 8 + 34, 16, { ...tunnels }),
  honest('TCP in UDP to a port that is no tunnel', packet({}, udp(4000, 5555, innerTcp)), L4 + 8 + 20, 16),
  honest('TCP behind another type', frameOf(0x8847, innerTcp), L4, 16, { ethertype: 'off' }),
];

const isTunnel = (frame: Buffer): boolean =>
  [PROTOCOL.gre, PROTOCOL.ipip].includes(frame[IP + 9] as never) || frame.readUInt16BE(L4 + 2) === 4789;

// Without packet metadata in the kernel, the object loads without the check, and status reports
// that.
describe('checksum offload on a kernel without it', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-objects-'));
  let node: TestNode;
  beforeAll(async () => {
    node = await TestNode.start();
    await node.fillChecksums(node.pods.receiver);
    const object = readFileSync(spoofObjectPath());
    // The type that is missing in the kernel's BTF: accesses to it cannot be relocated.
    const name = object.indexOf(Buffer.from('\0sk_buff\0'));
    object.write('sk_none', name + 1);
    writeFileSync(path.join(dir, 'spoof.bpf.o'), object);
  });
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true });
  });

  it('degraded - sources are checked, checksums are not, and the probe names the reason', async () => {
    const objectPath = path.join(dir, 'spoof.bpf.o');
    await expect(node.open({ objectPath }), 'without the other object').rejects.toMatchObject({ code: 'BPF_LOAD' });
    copyFileSync(withoutOffload(spoofObjectPath()), withoutOffload(objectPath));
    const { offload } = await node.open({ objectPath });
    expect(offload).toMatchObject({ feature: 'checksum-offload', available: false });
    expect(offload.errnoName).toMatch(/^E[A-Z]+$/);
    expect(offload.hint).toContain('not judged');

    const [{ turned: attack }] = attacks as [Attack];
    const forged = packet({ source: FORGED });
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(forged, TIMES);
    await node.send(attack.sent, TIMES, { checksum: attack.checksum });
    await node.fence();
    expect([node.landed(forged), node.landed(attack.landed)]).toEqual([0, TIMES]);
    expect(await guarded.counts()).toEqual({ 'ipv4-source drop': TIMES });
  });
});

describe('checksum offload', () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await TestNode.start();
    const { offload } = await node.open();
    expect(offload, 'this kernel has the metadata').toMatchObject({ available: true });
    await node.fillChecksums(node.pods.receiver);
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: 4789, kind: 'vxlan' }]);
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const send = ({ sent, checksum }: Turned, count = TIMES) => node.send(sent, count, { checksum });

  it.each(attacks)('attack - $name', async ({ turned: attack, modes }) => {
    node.forgetLanded();
    await send(attack);
    await node.fence();
    expect(node.landed(attack.landed), 'control: another frame lands unguarded').toBe(TIMES);

    await using guarded = await node.guard(node.pods.attacker, { modes: allModes('enforce', modes) });
    node.forgetLanded();
    await send(attack);
    await node.fence();
    expect(node.landed(attack.landed), 'guarded: it does not').toBe(0);
    expect(node.landed(attack.sent), 'nor as it was sent').toBe(0);
    expect(await guarded.counts()).toEqual({ 'checksum-offload drop': TIMES });
    const [sample] = await guarded.samples();
    expect(sample).toMatchObject({ vector: 'checksum-offload', action: 'drop', first: true });
  });

  it.each(legal)('legal - $name', async ({ turned: legal, modes }) => {
    await using guarded = await node.guard(node.pods.attacker, { modes: allModes('enforce', modes) });
    node.forgetLanded();
    await send(legal);
    await node.fence();
    expect(node.landed(legal.landed), 'with its checksum filled in').toBe(TIMES);
    const audited = modes !== undefined && 'tunnel-other' in modes;
    expect(await guarded.counts()).toEqual(audited && isTunnel(legal.sent) ? { 'tunnel-other audit': TIMES } : {});
  });

  it('attack - the same with further addresses of the pod, which use the slow path', async () => {
    const further = '10.77.0.20';
    const attack = turned(packet({ source: further }, datagram()), SOURCE, FORGED_LOW);
    const legal = leftToKernel(
      packet({ source: further }, udp(4000, 9, undefined, { ...own, source: further })),
      L4,
      6,
    );
    await using guarded = await node.guard(node.pods.attacker, { hasMore: true });
    await node.agent.call('object.maps.addresses.replace', guarded.key, [{ cidr: further, neighbour: true }]);
    node.forgetLanded();
    await send(attack);
    await send(legal);
    await node.fence();
    expect([node.landed(attack.landed), node.landed(legal.landed)]).toEqual([0, TIMES]);
    expect(await guarded.counts()).toEqual({ 'checksum-offload drop': TIMES });
  });

  it.each(['audit', 'off'] as const)('mode - %s passes it', async (mode) => {
    const [{ turned: attack }] = attacks as [Attack];
    const modes = allModes('enforce', { 'checksum-offload': mode });
    await using guarded = await node.guard(node.pods.attacker, { modes });
    node.forgetLanded();
    await send(attack);
    await node.fence();
    expect(node.landed(attack.landed)).toBe(TIMES);
    expect(await guarded.counts()).toEqual(mode === 'audit' ? { 'checksum-offload audit': TIMES } : {});
  });

  it.each(['ingress', 'egress'] as const)(
    'quarantine - an allowed destination that changes into another: %s',
    async (way) => {
      const allowed = '10.77.9.9';
      await node.agent.call('object.maps.allowedCidrs.replace', ['10.77.9.0/24']);
      const [ends, at] = way === 'ingress' ? [{ destination: allowed }, DESTINATION] : [{ source: allowed }, SOURCE];
      const attack = turned(packet(ends, datagram()), at, hex('00:0b'));
      const legal = leftToKernel(packet(ends, udp(4000, 9, undefined, { ...own, ...ends })), L4, 6);
      const pod = way === 'ingress' ? node.pods.attacker : node.pods.receiver;
      // Also with the vector off.
      const modes = allModes('enforce', { 'checksum-offload': 'off' });
      for (const quarantineUntilNs of [0n, FOREVER_NS]) {
        await using guarded = await node.guard(pod, { quarantineUntilNs, modes });
        node.forgetLanded();
        await send(attack);
        await send(legal);
        const cut = quarantineUntilNs !== 0n;
        await guarded.counted(cut ? { [`quarantine-${way} drop`]: TIMES } : {});
        await waitFor(() => node.landed(legal.landed), { what: 'the legal frame', until: (count) => count === TIMES });
        if (cut) expect(node.landed(attack.landed)).toBe(0);
        else
          await waitFor(() => node.landed(attack.landed), {
            what: 'the forged frame',
            until: (count) => count === TIMES,
          });
      }
    },
  );
});

// The node routes, and fragments packets for a path with a smaller MTU. It fills in checksums first
// and writes each IPv4 header checksum afterwards, so the receiver finds no error.
describe('checksum offload on a node that routes', () => {
  const FAR = '10.99.0.9';
  const MTU = 1000;
  const node = useNode({ stacks: true });
  beforeAll(async () => {
    const routes = [
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.br0.rp_filter=0',
      'sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0',
      `ip route add ${FAR}/32 dev br0 mtu lock ${MTU}`,
      `ip neigh replace ${FAR} lladdr ${RECEIVER.mac} dev br0`,
    ];
    await commandIn(node.netns, 'sh', '-ec', routes.join('\n'));
  });

  /** Packets that the node failed to fragment. */
  const refused = async (): Promise<number> => {
    const [names, values] = (await commandIn(node.netns, 'grep', '^Ip:', '/proc/net/snmp')).trim().split('\n');
    return Number(values?.split(' ')[names?.split(' ').indexOf('FragFails') ?? -1]);
  };

  it('attack - IPv4 source, filled in by fragmentation', async (context) => {
    const ends = { source: ATTACKER.ipv4, destination: FAR };
    const long = ethernet(
      { source: ATTACKER.mac, destination: NODE.mac, type: ETHERTYPE.ipv4 },
      ipv4({ ...ends, protocol: PROTOCOL.udp }, datagram(9, Buffer.alloc(MTU))),
    );
    const attack = turned(long, SOURCE, FORGED_LOW, { filler: long.length - 2 });
    const source = (address: string) =>
      [...ipv4Bytes(address), ...ipv4Bytes(FAR)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const landed = (address: string) => node.allLanded().filter((one) => one.includes(source(address))).length;
    const fragments = (address: string) =>
      waitFor(() => landed(address), { what: `fragments from ${address}`, until: (count) => count === 2 });

    node.forgetLanded();
    await node.send(attack.sent, 1, { checksum: attack.checksum });
    const [lands, fails] = await waitFor(async () => [landed(FORGED), await refused()] as const, {
      what: 'fragments, or none',
      until: ([fragments, failures]) => fragments === 2 || failures > 0,
    });
    if (fails > 0)
      context.skip('optional: this kernel fragments no packet with such a checksum (seen on 6.1 and 6.12)');
    expect(lands).toBe(2);
    expect(landed(ATTACKER.ipv4), 'control: both fragments have the forged source').toBe(0);

    await using guarded = await node.guard(node.pods.attacker);
    node.forgetLanded();
    await node.send(attack.sent, TIMES, { checksum: attack.checksum });
    await guarded.counted({ 'checksum-offload drop': TIMES });
    // Without the metadata, the fragments have the packet's own source.
    await node.send(attack.sent);
    await fragments(ATTACKER.ipv4);
    expect(landed(FORGED)).toBe(0);
  });
});
