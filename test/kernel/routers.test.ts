// Messages that only queriers and routers send. On a real bridge with multicast snooping, a query
// from a pod cuts its neighbours off from neighbour discovery and from their groups.

import { formatAddress, parseAddress } from '@bailiff/bpf';
import {
  ETHERTYPE,
  ethernet,
  icmpv6,
  igmp,
  ipv4,
  ipv6,
  ipv6Bytes,
  PROTOCOL,
  routerAlert,
  solicitedNode,
  vrrp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launch, type RunningProcess } from '../support/process.ts';
import { frame, packet, ping } from './harness/ipv4.ts';
import { BRIDGE } from './harness/layouts.ts';
import { echo, mld } from './harness/nd.ts';
import { ATTACKER, type Guarded, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const GROUP = '239.1.2.3';
const toGroup = (protocol: number, payload: Buffer, destination: string): Buffer =>
  frame(ipv4({ source: ATTACKER.ipv4, destination, protocol, ttl: 1 }, payload));
const igmpFrame = (type: number, group = GROUP): Buffer => toGroup(PROTOCOL.igmp, igmp(type, group), group);
const reports = [0x12, 0x16, 0x17, 0x22].map((type) => igmpFrame(type));

const ofIgmp: Row[] = [
  ['a query', 0x11],
  ['DVMRP', 0x13],
  ['PIM 1', 0x14],
  ['a multicast router’s advertisement', 0x30],
  ['a multicast router’s solicitation', 0x31],
  ['a multicast router’s termination', 0x32],
].map(([name, type]) => ({
  name: `IGMP: ${name}`,
  vector: 'router-protocol',
  attack: igmpFrame(Number(type)),
  allow: igmpFrame(0x16),
}));

/** Of an interface without an IPv4 address. */
const unaddressed = (type: number, ttl = 1, destination = GROUP): Buffer =>
  frame(ipv4({ source: '0.0.0.0', destination, protocol: PROTOCOL.igmp, ttl }, igmp(type, GROUP)));
const ofNoAddress: Row[] = [
  { name: 'a query', attack: unaddressed(0x11) },
  { name: 'a report that is routed', attack: unaddressed(0x16, 2) },
  { name: 'a report to a host', attack: unaddressed(0x22, 1, RECEIVER.ipv4) },
].map(({ name, attack }) => ({
  name: `IGMP from 0.0.0.0: ${name}`,
  vector: 'ipv4-source',
  attack,
  allow: unaddressed(0x22, 1, '224.0.0.22'),
}));

const ofIcmpv6: Row[] = [
  ['an MLD query', 130],
  ['router renumbering', 138],
  ['a multicast router’s advertisement', 151],
  ['a multicast router’s solicitation', 152],
  ['a multicast router’s termination', 153],
].map(([name, type]) => ({
  name: `ICMPv6: ${name}`,
  vector: 'router-protocol',
  attack: mld({ type: Number(type) }),
  allow: mld(),
}));

const ofIp: Row[] = [
  { name: 'EIGRP', protocol: PROTOCOL.eigrp },
  { name: 'OSPF', protocol: PROTOCOL.ospf },
  { name: 'PIM hello', protocol: PROTOCOL.pim },
].flatMap(({ name, protocol }): Row[] => [
  { name, vector: 'router-protocol', attack: packet({ protocol }, Buffer.alloc(24)), allow: ping },
  {
    name: `${name}, a later fragment`,
    vector: 'router-protocol',
    attack: packet({ protocol, offset: 64 }),
    allow: packet({ offset: 64 }),
  },
  {
    name: `${name} over IPv6`,
    vector: 'router-protocol',
    attack: ethernet(
      { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 },
      ipv6({ source: ATTACKER.linkLocal, destination: 'ff02::d', next: protocol }, Buffer.alloc(24)),
    ),
    allow: echo,
  },
]);

const VIRTUAL = ['10.77.0.50', '10.77.0.51'];
const grants = VIRTUAL.map((cidr) => ({ cidr, neighbour: true }));
const vrrpFrame = (addresses: readonly string[], count?: number): Buffer =>
  toGroup(PROTOCOL.vrrp, vrrp(addresses, count), '224.0.0.18');
const vrrpFrame6 = (addresses: readonly string[]): Buffer =>
  ethernet(
    { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 },
    ipv6({ source: ATTACKER.linkLocal, destination: 'ff02::12', next: PROTOCOL.vrrp }, vrrp(addresses)),
  );
const granted = vrrpFrame(VIRTUAL);
const ofVrrp: Row[] = [
  { name: 'VRRP for the gateway', vector: 'router-protocol', attack: vrrpFrame([NODE.ipv4]), allow: ping },
  {
    name: 'VRRP for the gateway behind granted addresses',
    vector: 'router-protocol',
    attack: vrrpFrame([...VIRTUAL, NODE.ipv4]),
    allow: granted,
    grants,
  },
  { name: 'VRRP without an address', vector: 'router-protocol', attack: vrrpFrame([]), allow: granted, grants },
  {
    name: 'VRRP with fewer addresses than it names',
    vector: 'router-protocol',
    attack: vrrpFrame(VIRTUAL, 3),
    allow: granted,
    grants,
  },
  {
    name: 'VRRP for nine addresses',
    vector: 'router-protocol',
    attack: vrrpFrame(Array(9).fill(ATTACKER.ipv4)),
    allow: vrrpFrame(Array(8).fill(ATTACKER.ipv4)),
  },
  {
    name: 'VRRP over IPv6 for the gateway',
    vector: 'router-protocol',
    attack: vrrpFrame6([ATTACKER.linkLocal, NODE.ipv6]),
    allow: vrrpFrame6([ATTACKER.linkLocal, ATTACKER.ipv6]),
  },
];

describe('messages of routers', () => {
  const node = useNode();

  it.each([...ofIgmp, ...ofNoAddress, ...ofIcmpv6, ...ofIp, ...ofVrrp])('$name', (row) => judgeRow(node, row));

  it('reports and leaves of a host pass uncounted', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const legal = [...reports, mld(), mld({ type: 131 }), mld({ type: 132, ip: { destination: 'ff02::2' } })];
    node.forgetLanded();
    for (const one of legal) await node.send(one);
    await node.fence();
    expect(legal.map((one) => node.landed(one))).toEqual(legal.map(() => 1));
    expect(await guarded.counts()).toEqual({});
  });
});

/** Joins a group of each family until it is killed, and prints what it receives. */
const MEMBER = `
import select, socket, struct, sys
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
four.bind(('', 7001))
four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[1]) + socket.inet_aton(sys.argv[2]))
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, sys.argv[3]) + struct.pack('I', socket.if_nametoindex('eth0')))
print('joined', flush=True)
while True:
    select.select([four], [], [])
    print(four.recv(100).decode(), flush=True)
`;
const GROUP6 = 'ff15::1:2:3';

describe('a bridge with multicast snooping', () => {
  let node: TestNode;
  let member: RunningProcess;
  const layout = {
    ...BRIDGE,
    node: [
      `ip link add br0 address ${NODE.mac} type bridge mcast_snooping 1 stp_state 0`,
      // A router port would receive every group.
      'ip link set br0 type bridge mcast_router 0',
      'ip link set br0 up',
    ],
  };
  const join = async (pod: TestNode['pods']['attacker']) => {
    const script = ['python3', '-c', MEMBER, GROUP, pod.identity.ipv4, GROUP6];
    const process = launch('nsenter', [`--net=/run/netns/${pod.netns}`, ...script]);
    await process.printed('joined');
    return process;
  };
  /** Groups of a pod's port in the bridge. */
  const groups = async (pod: TestNode['pods']['attacker']): Promise<string[]> => {
    const [{ mdb }] = JSON.parse(await commandIn(node.netns, 'bridge', '-j', 'mdb', 'show')) as [
      { mdb: { port: string; grp: string }[] },
    ];
    return mdb.filter(({ port }) => port === pod.hostInterface).map(({ grp }) => grp);
  };
  const knows = (pod: TestNode['pods']['attacker'], wanted: readonly string[]) =>
    waitFor(() => groups(pod), {
      what: `the bridge to know ${wanted}`,
      until: (known) => wanted.every((group) => known.includes(group)),
    });
  const canonical = (address: string) => formatAddress(parseAddress(address));
  const neighbours = [RECEIVER.ipv6, RECEIVER.linkLocal].map((address) => canonical(solicitedNode(address)));
  const NEEDED = [...neighbours, GROUP, GROUP6];

  beforeEach(async () => {
    node = await TestNode.start({ stacks: true, layout });
    await node.open();
    member = await join(node.pods.receiver);
    await knows(node.pods.receiver, NEEDED);
  });
  afterEach(async () => {
    await member?.kill();
    await node?.[Symbol.asyncDispose]();
  });

  /** Response delay, in milliseconds for MLD: the bridge waits twice as long before it forgets a member. */
  const DELAY = 10;
  const mldQuery = (group: string, destination: string): Buffer => {
    const fields = { source: ATTACKER.linkLocal, destination };
    const body = Buffer.concat([Buffer.from([0, DELAY, 0, 0]), ipv6Bytes(group)]);
    return ethernet(
      { source: ATTACKER.mac, destination: `33:33:${destinationMac(destination)}`, type: ETHERTYPE.ipv6 },
      ipv6(
        { ...fields, next: PROTOCOL.hopByHop, hopLimit: 1 },
        Buffer.concat([routerAlert(PROTOCOL.icmpv6), icmpv6(130, body, fields)]),
      ),
    );
  };
  const destinationMac = (group: string): string =>
    ipv6Bytes(group).subarray(12).toString('hex').match(/../g)!.join(':');
  const igmpQuery = (group: string, destination: string, offset = 0): Buffer => {
    const query = igmp(0x11, group);
    query.writeUInt8(1, 1);
    query.writeUInt16BE(0, 2);
    query.writeUInt16BE(sumOf(query), 2);
    const options = Buffer.from([148, 4, 0, 0]);
    return ethernet(
      { source: ATTACKER.mac, destination: '01:00:5e:00:00:01', type: ETHERTYPE.ipv4 },
      ipv4({ source: ATTACKER.ipv4, destination, protocol: PROTOCOL.igmp, ttl: 1, options, offset }, query),
    );
  };
  const sumOf = (message: Buffer): number => {
    let sum = 0;
    for (let at = 0; at < message.length; at += 2) sum += message.readUInt16BE(at);
    return ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  };
  /** The first ones make the bridge filter. */
  const general = [mldQuery('::', 'ff02::1'), igmpQuery('0.0.0.0', '224.0.0.1')];
  /** To groups that no member has, so that no member answers. */
  const specific = [
    ...[...neighbours, GROUP6].map((group) => mldQuery(group, 'ff02::1:ff99:9999')),
    igmpQuery(GROUP, '239.9.9.9'),
  ];
  const send = async (queries: readonly Buffer[]) => {
    for (const query of queries) await node.send(query);
  };
  const reaches = async (): Promise<boolean> => {
    await commandIn(node.netns, 'ip', 'neigh', 'flush', 'dev', 'br0');
    return commandIn(node.netns, 'ping', '-c', '1', '-W', '1', RECEIVER.ipv6).then(
      () => true,
      () => false,
    );
  };
  let datagrams = 0;
  /** Sends a datagram to the group, and then one to the member itself. */
  const hears = async (): Promise<boolean> => {
    datagrams += 1;
    const [one, two] = [`group ${datagrams}`, `own ${datagrams}`];
    const script = `import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('${NODE.ipv4}'))
s.sendto(b'${one}', ('${GROUP}', 7001)); s.sendto(b'${two}', ('${RECEIVER.ipv4}', 7001))`;
    await commandIn(node.netns, 'python3', '-c', script);
    await waitFor(() => member.stdout().includes(two), { what: 'the datagram to the member' });
    return member.stdout().includes(one);
  };

  it('queries from a pod - unguarded, its neighbour loses IPv6 and its groups; guarded, nothing changes', async () => {
    expect([await reaches(), await hears()]).toEqual([true, true]);
    {
      await using guarded = await node.guard(node.pods.attacker);
      await send([...general, ...specific]);
      await guarded.counted({ 'router-protocol drop': 6 });
      await knows(node.pods.receiver, NEEDED);
      expect([await reaches(), await hears()]).toEqual([true, true]);
    }
    await send(general);
    // The members answer the general queries, some milliseconds later.
    const forgets = async () => {
      await send(specific);
      return groups(node.pods.receiver);
    };
    await waitFor(forgets, {
      what: 'control: the bridge forgets the members',
      until: (known) => !NEEDED.some((group) => known.includes(group)),
    });
    expect([await reaches(), await hears()], 'control: the neighbour is cut off').toEqual([false, false]);
  });

  it('queries that say they are later fragments - the bridge reads no offset', async () => {
    const later = (group: string, destination: string) => igmpQuery(group, destination, 64);
    const hasGroup = async () => (await groups(node.pods.receiver)).includes(GROUP);
    await waitFor(async () => (await hasGroup()) && (await hears()), { what: 'the member to be known' });
    {
      await using guarded = await node.guard(node.pods.attacker);
      await send([later('0.0.0.0', '224.0.0.1'), later(GROUP, '239.9.9.9')]);
      await guarded.counted({ 'router-protocol drop': 2 });
      expect([await hasGroup(), await hears()]).toEqual([true, true]);
    }
    await send([later('0.0.0.0', '224.0.0.1')]);
    const forgets = async () => {
      await send([later(GROUP, '239.9.9.9')]);
      return (await hasGroup()) || (await hears());
    };
    // The general query makes it report again, and a report that was on its way is forgotten with the next try.
    await waitFor(forgets, {
      what: 'control: the bridge forgets the member, which is cut off',
      until: (known) => !known,
    });
  });

  it.each([
    ['IGMP 3 and MLD 2', 0],
    ['IGMP 2 and MLD 1', 1],
  ])('joins and leaves of a guarded pod - the bridge follows them (%s)', async (_, older) => {
    const { attacker } = node.pods;
    const versions = `sysctl -qw net.ipv4.conf.eth0.force_igmp_version=${older * 2} net.ipv6.conf.eth0.force_mld_version=${older}`;
    await commandIn(attacker.netns, 'sh', '-ec', versions);
    let guarded: Guarded | undefined;
    const joined = [GROUP, GROUP6];
    try {
      guarded = await node.guard(attacker);
      // The bridge forgets a member when it leaves only if there is a querier: here, the node.
      await commandIn(node.netns, 'ip', 'link', 'set', 'br0', 'type', 'bridge', 'mcast_querier', '1');
      // A bridge that does not count as a querier yet ignores a leave.
      const isFollowed = async () => {
        const process = await join(attacker);
        await knows(attacker, joined);
        await process.kill();
        const isGone = async () => !(await groups(attacker)).some((group) => joined.includes(group));
        return waitFor(isGone, { what: 'the bridge to follow the leave', timeoutMs: 7_000 });
      };
      await waitFor(isFollowed, { what: 'a leave that the bridge follows', timeoutMs: 20_000 });
      expect(await guarded.counts()).toEqual({});
    } finally {
      await guarded?.[Symbol.asyncDispose]();
    }
  });
});
