// What the frames of a pod change in its neighbour and in its node: every type of ICMP, ICMPv6, IGMP, MLD
// and ARP, and every protocol, under the pod's own identity, with bodies that name other hosts. The kernels
// of both are compared before and after. Unguarded, the frames give the neighbour a router, a prefix and
// another MAC of the node; guarded, they change only what the pod itself may: its own entries and groups.
import {
  arp,
  ETHERTYPE,
  ethernet,
  extension,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  ipv6Bytes,
  macOption,
  PROTOCOL,
  routerAlert,
  udp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ATTACKER, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

const BYTES = Array.from({ length: 256 }, (_, i) => i);
const ALL = { ipv4: '224.0.0.1', ipv6: 'ff02::1' };
const to4: readonly [string, string][] = [
  [RECEIVER.ipv4, RECEIVER.mac],
  [NODE.ipv4, NODE.mac],
  [ALL.ipv4, '01:00:5e:00:00:01'],
];
const to6: readonly [string, string][] = [
  [RECEIVER.ipv6, RECEIVER.mac],
  [NODE.ipv6, NODE.mac],
  [ALL.ipv6, '33:33:00:00:00:01'],
];
const from6 = [ATTACKER.ipv6, ATTACKER.linkLocal];
const THIRD = '10.77.0.33';

const frame = (type: number, packet: Buffer, destination: string): Buffer =>
  ethernet({ source: ATTACKER.mac, destination, type }, packet);
const quote4 = (to: string): Buffer =>
  ipv4({ source: to === ALL.ipv4 ? RECEIVER.ipv4 : to, destination: ATTACKER.ipv4, protocol: PROTOCOL.udp }, udp(1, 2));

function* framesOf4(): Generator<Buffer> {
  for (const [destination, mac] of to4)
    for (const number of BYTES) {
      const ends = { source: ATTACKER.ipv4, destination };
      const body = Buffer.concat([Buffer.from([10, 77, 0, 33]), quote4(destination)]);
      yield frame(ETHERTYPE.ipv4, ipv4({ ...ends, protocol: PROTOCOL.icmp }, icmp(number, 1, body)), mac);
      const redirect = icmp(5, 1, Buffer.concat([Buffer.from([10, 77, 0, 33]), quote4(destination)]));
      const inner = ipv4({ source: THIRD, destination, protocol: PROTOCOL.icmp }, redirect);
      yield frame(ETHERTYPE.ipv4, ipv4({ ...ends, protocol: number }, inner), mac);
      // The checksum of ICMP is that of IGMP.
      const group = icmp(number, 100, Buffer.concat([Buffer.from([239, 1, 2, 3, 2, 125, 0, 0]), Buffer.alloc(12)]));
      const alert = { ttl: 1, options: Buffer.from([148, 4, 0, 0]) };
      yield frame(ETHERTYPE.ipv4, ipv4({ ...ends, ...alert, protocol: PROTOCOL.igmp }, group), mac);
    }
}

/** Bodies of neighbour discovery that name the node. */
const prefix = Buffer.concat([Buffer.from([3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ipv6Bytes('fd99::')]);
const BODIES = [1, 2].flatMap((option) => {
  const own = macOption(option as 1 | 2, ATTACKER.mac);
  return [
    Buffer.concat([Buffer.from([0xe0, 0, 0, 0]), ipv6Bytes(NODE.ipv6), own]),
    Buffer.concat([Buffer.from([33, 0, 7, 8]), Buffer.alloc(8), own, prefix]),
    Buffer.concat([Buffer.alloc(4), ipv6Bytes(ATTACKER.linkLocal), ipv6Bytes(NODE.ipv6), own]),
  ];
});
const listen = Buffer.concat([Buffer.from([0, 100, 0, 0]), ipv6Bytes('ff15::7'), Buffer.from([2, 125, 0, 0])]);

function* framesOf6(): Generator<Buffer> {
  for (const [destination, mac] of to6)
    for (const source of from6)
      for (const number of BYTES) {
        const ends = { source, destination, hopLimit: 255 };
        for (const body of BODIES)
          yield frame(ETHERTYPE.ipv6, ipv6({ ...ends, next: PROTOCOL.icmpv6 }, icmpv6(number, body, ends)), mac);
        const group = Buffer.concat([routerAlert(PROTOCOL.icmpv6), icmpv6(number, listen, ends)]);
        yield frame(ETHERTYPE.ipv6, ipv6({ ...ends, hopLimit: 1, next: PROTOCOL.hopByHop }, group), mac);
        const advert = icmpv6(134, BODIES[1], { source: 'fe80::1', destination });
        const inner = ipv6({ source: 'fe80::1', destination, next: PROTOCOL.icmpv6, hopLimit: 255 }, advert);
        const payload = Buffer.concat([extension(PROTOCOL.ipv6), inner]);
        yield frame(ETHERTYPE.ipv6, ipv6({ ...ends, next: number }, payload), mac);
      }
}

function* framesOfArp(): Generator<Buffer> {
  for (const operation of BYTES.slice(0, 30))
    for (const target of [RECEIVER.ipv4, NODE.ipv4, THIRD, ATTACKER.ipv4, '0.0.0.0', '10.77.0.255'])
      for (const mac of [RECEIVER.mac, NODE.mac, 'ff:ff:ff:ff:ff:ff'])
        yield frame(ETHERTYPE.arp, arp({ operation, senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target }), mac);
}

const SHOW = [
  'ip neigh',
  'ip -6 neigh',
  'ip route show table all',
  'ip route show cache',
  'ip -6 route show table all',
  'ip -6 route show cache',
  'ip -6 addr',
  'ip maddr',
  'bridge fdb || true',
  'bridge mdb || true',
  'sysctl net.ipv6.conf.eth0.hop_limit || true',
];
/** What changes by itself: states and times. */
const CHANGING =
  / (REACHABLE|STALE|DELAY|PROBE|FAILED|INCOMPLETE)| (used|ref|expires|age|valid_lft|preferred_lft) \S+/g;

describe('what the frames of a pod change in others', () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await TestNode.start({ stacks: true });
    await commandIn(node.netns, 'ip', 'link', 'set', 'br0', 'type', 'bridge', 'mcast_snooping', '1');
    await node.open();
    const { attacker, receiver } = node.pods;
    const ping = (netns: string, to: string) => commandIn(netns, 'ping', '-c', '1', '-W', '20', to);
    for (const to of [NODE.ipv4, NODE.ipv6, ATTACKER.ipv4, ATTACKER.ipv6]) await ping(receiver.netns, to);
    for (const to of [NODE.ipv4, NODE.ipv6]) await ping(attacker.netns, to);
    for (const [netns, device] of [
      [receiver.netns, 'eth0'],
      [node.netns, 'br0'],
    ] as const)
      await ping(netns, `${ATTACKER.linkLocal}%${device}`);
    // Later, the receiver may probe the node with this address as source.
    await ping(node.netns, `${RECEIVER.linkLocal}%br0`);
    // Their links get addresses of their own after duplicate address detection.
    for (const netns of [node.netns, receiver.netns])
      await waitFor(() => commandIn(netns, 'ip', '-6', 'addr', 'show', 'tentative'), {
        what: 'no tentative address',
        until: (text) => text.trim() === '',
      });
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  async function lines(): Promise<Set<string>> {
    const all: string[] = [];
    for (const [name, netns] of [
      ['node', node.netns],
      ['receiver', node.pods.receiver.netns],
    ] as const) {
      const text = await commandIn(netns, 'sh', '-ec', SHOW.map((line) => `${line} 2>/dev/null`).join('\n'));
      all.push(...text.split('\n').map((line) => `${name}: ${line.replaceAll(CHANGING, '').trim()}`));
    }
    return new Set(all);
  }

  /** Lines that are there after a part of the frames and were not before it. */
  async function changes(): Promise<string[]> {
    const found: string[] = [];
    let before = await lines();
    for (const part of [framesOf4(), framesOf6(), framesOfArp()]) {
      for (const one of part) await node.send(one);
      const after = await lines();
      found.push(...[...after].filter((line) => !before.has(line)));
      before = after;
    }
    return found;
  }

  it('its own groups at its own port, and nothing about others', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await using receiver = await node.guard(node.pods.receiver);
    const own = /^node: (\d+: )?(dev br0 port ha grp|\d+: br0 +ha +)/;
    // The neighbour learns from the node itself that it is a router.
    const ofNode = new RegExp(`lladdr ${NODE.mac}( router)?$`);
    const found = (await changes()).filter((line) => !own.test(line) && !ofNode.test(line));
    expect(found.filter((line) => !line.includes(`lladdr ${ATTACKER.mac}`))).toEqual([]);
    expect(found.join('\n'), 'no address of another, and no router').not.toMatch(/fd77::1 |router/);
    expect(await receiver.counts()).toEqual({});
    const counted = ['nd-target drop', 'redirect drop', 'router-advert drop', 'router-protocol drop'];
    expect(Object.keys(await guarded.counts())).toEqual(expect.arrayContaining(counted));
  });

  it('control - unguarded, the neighbour gets a router, a prefix and another MAC of the node', async () => {
    const found = (await changes()).join('\n');
    expect(found).toMatch(new RegExp(`receiver: ${NODE.ipv6} dev eth0 lladdr ${ATTACKER.mac}`));
    expect(found).toMatch(/receiver: default via fe80::ff:fe00:770a dev eth0/);
    expect(found).toMatch(/receiver: fd99::\/64 dev eth0/);
  });
});
