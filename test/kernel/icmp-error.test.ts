// ICMP errors: a pod may report on packets that were sent to it, and never on flows of others.

import {
  authentication,
  destinationOptions,
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  type Ipv4Fields,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  PROTOCOL,
  routingHeader,
  udp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { launch } from '../support/process.ts';
import { ATTACKER, RECEIVER } from './harness/node.ts';
import { commandIn, frameHelper } from './harness/processes.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const ELSEWHERE = { ipv4: '198.51.100.7', ipv6: '2001:db8::7' };
const frame = (type: number, packet: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type }, packet);

/** The packet of the receiver that the error quotes. */
const sent4 = (destination: string, protocol: number = PROTOCOL.udp, payload = udp(4000, 53)): Buffer =>
  ipv4({ source: RECEIVER.ipv4, destination, protocol }, payload);
const sent6 = (destination: string, next: number = PROTOCOL.udp, payload = udp(4000, 53)): Buffer =>
  ipv6({ source: RECEIVER.ipv6, destination, next }, payload);

const rest = (mtu = 0): Buffer => Buffer.from([0, 0, mtu >> 8, mtu & 255]);
function error4(type: number, quote: Buffer, { mtu = 0, ...ip }: Partial<Ipv4Fields> & { mtu?: number } = {}): Buffer {
  const fields = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4, protocol: PROTOCOL.icmp, ...ip };
  const code = type === 3 && mtu > 0 ? 4 : 0;
  return frame(ETHERTYPE.ipv4, ipv4(fields, icmp(type, code, Buffer.concat([rest(mtu), quote]))));
}
const ends6 = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const error6 = (type: number, quote: Buffer, mtu = 0): Buffer => {
  const message = icmpv6(type, Buffer.concat([rest(mtu), quote]), ends6);
  return frame(ETHERTYPE.ipv6, ipv6({ ...ends6, next: PROTOCOL.icmpv6 }, message));
};
/** One whose kernel type is not known, and one with a code. */
const typed6 = (type: number, code: number, quote: Buffer): Buffer => {
  const message = icmpv6(type, Buffer.concat([rest(), quote]), ends6, code);
  return frame(ETHERTYPE.ipv6, ipv6({ ...ends6, next: PROTOCOL.icmpv6 }, message));
};
/** A packet of the receiver to the pod, whose last segment is another address. */
const routed6 = (
  last: string,
  type = 4,
  before = (next: number, payload: Buffer) => [next, payload] as const,
): Buffer => {
  const [next, payload] = before(
    PROTOCOL.routing,
    Buffer.concat([routingHeader(PROTOCOL.udp, type, last, 0), udp(4000, 53)]),
  );
  return sent6(ATTACKER.ipv6, next, payload);
};
const fragmentOf6 = (quote: Buffer): Buffer => {
  const message = icmpv6(1, Buffer.concat([rest(), quote]), ends6);
  const payload = Buffer.concat([fragmentHeader(PROTOCOL.icmpv6, 0, true), message]);
  return frame(ETHERTYPE.ipv6, ipv6({ ...ends6, next: PROTOCOL.fragment }, payload));
};

const behindOthers = (next: number, payload: Buffer) =>
  [
    PROTOCOL.hopByHop,
    Buffer.concat([extension(PROTOCOL.ah), authentication(PROTOCOL.fragment), fragmentHeader(next, 0, true), payload]),
  ] as const;
const chain = (length: number): Buffer =>
  Buffer.concat([
    ...Array.from({ length }, (_, i) => extension(i === length - 1 ? PROTOCOL.udp : PROTOCOL.destinationOptions)),
    udp(4000, 53),
  ]);

const own4 = sent4(ATTACKER.ipv4);
const own6 = sent6(ATTACKER.ipv6);
const rows: Row[] = [
  ...[3, 4, 11, 12].map(
    (type): Row => ({
      name: `ICMP ${type} about a packet to another`,
      vector: 'redirect',
      attack: error4(type, sent4(ELSEWHERE.ipv4)),
      allow: error4(type, own4),
    }),
  ),
  ...[1, 2, 3, 4].map(
    (type): Row => ({
      name: `ICMPv6 ${type} about a packet to another`,
      vector: 'redirect',
      attack: error6(type, sent6(ELSEWHERE.ipv6)),
      allow: error6(type, own6),
    }),
  ),
  {
    name: 'in a first fragment',
    vector: 'redirect',
    attack: error4(3, sent4(ELSEWHERE.ipv4), { moreFragments: true }),
    allow: error4(3, own4, { moreFragments: true }),
  },
  {
    name: 'in a first fragment of IPv6',
    vector: 'redirect',
    attack: fragmentOf6(sent6(ELSEWHERE.ipv6)),
    allow: fragmentOf6(own6),
  },
  {
    name: 'a quote cut short',
    vector: 'malformed',
    attack: error4(3, own4.subarray(0, 19)),
    allow: error4(3, own4.subarray(0, 20)),
  },
  {
    name: 'a quote of IPv6 cut short',
    vector: 'malformed',
    attack: error6(1, own6.subarray(0, 39)),
    allow: error6(1, own6.subarray(0, 40)),
  },
  {
    name: 'a pod that routes reports on packets that it routes, and on no others',
    vector: 'redirect',
    attack: error4(11, sent4('10.79.1.2')),
    allow: error4(11, sent4('10.78.1.2')),
    grants: [{ cidr: '10.78.0.0/16', neighbour: false }],
  },
  {
    name: 'a pod that routes IPv6 reports on packets that it routes, and on no others',
    vector: 'redirect',
    attack: error6(3, sent6('fd79::1')),
    allow: error6(3, sent6('fd78::1')),
    grants: [{ cidr: 'fd78::/32', neighbour: false }],
  },
  {
    name: "about a packet to the pod's link-local address",
    vector: 'redirect',
    attack: error6(1, sent6(RECEIVER.linkLocal)),
    allow: error6(1, sent6(ATTACKER.linkLocal)),
  },
  {
    name: 'about a packet to a group',
    vector: 'redirect',
    attack: error6(2, sent6('ff02::1')),
    allow: error6(2, sent6(ATTACKER.linkLocal)),
  },
  {
    name: 'about a packet to a group, other than its unknown option',
    vector: 'redirect',
    attack: typed6(4, 1, sent6('ff02::1')),
    allow: typed6(4, 2, sent6('ff02::1')),
  },
  ...[0, 5, 100, 127].map(
    (type): Row => ({
      name: `ICMPv6 ${type}, which has no meaning, about a packet to another`,
      vector: 'redirect',
      attack: typed6(type, 0, sent6(ELSEWHERE.ipv6)),
      allow: typed6(type, 0, own6),
    }),
  ),
  {
    name: 'a quote whose last segment is another address',
    vector: 'redirect',
    attack: error6(1, routed6(ELSEWHERE.ipv6)),
    allow: error6(1, routed6(ATTACKER.ipv6)),
  },
  {
    name: 'segments behind other headers of the quote',
    vector: 'redirect',
    attack: error6(1, routed6(ELSEWHERE.ipv6, 4, behindOthers)),
    allow: error6(1, routed6(ATTACKER.ipv6, 4, behindOthers)),
  },
  {
    name: 'a routing header that is of no segments',
    vector: 'redirect',
    attack: error6(1, routed6(ELSEWHERE.ipv6, 4)),
    allow: error6(1, routed6(ELSEWHERE.ipv6, 2)),
  },
  {
    name: 'a quote with more headers than are read',
    vector: 'malformed',
    attack: error6(1, sent6(ATTACKER.ipv6, PROTOCOL.hopByHop, chain(9))),
    allow: error6(1, sent6(ATTACKER.ipv6, PROTOCOL.hopByHop, chain(8))),
  },
];

describe('icmp errors', () => {
  const node = useNode();

  it.each(rows)('$vector: $name', (row) => judgeRow(node, row));
});

describe('icmp errors, with real stacks', () => {
  const node = useNode({ stacks: true });

  const inReceiver = (...args: string[]) => commandIn(node.pods.receiver.netns, ...(args as [string]));
  /** The receiver's route to an address. */
  const route = async (): Promise<string> =>
    (await inReceiver('ip', 'route', 'get', ELSEWHERE.ipv4)) + (await inReceiver('ip', 'route', 'get', ELSEWHERE.ipv6));
  const answers = (await_: (text: string) => boolean) => waitFor(route, { what: 'routes', until: await_ });

  it("path mtu - another pod's route is not narrowed", async () => {
    const attacks = [
      error4(3, sent4(ELSEWHERE.ipv4, PROTOCOL.icmp, icmp(0, 0, Buffer.alloc(8))), { mtu: 700 }),
      error6(2, sent6(ELSEWHERE.ipv6, PROTOCOL.icmpv6, icmpv6(128, Buffer.alloc(12))), 1290),
    ];
    for (const attack of attacks) await node.send(attack);
    await answers((text) => text.includes('mtu 700') && text.includes('mtu 1290'));

    await inReceiver('ip', 'route', 'flush', 'cache');
    await inReceiver('ip', '-6', 'route', 'flush', 'cache');
    await answers((text) => !text.includes('mtu'));
    await using guarded = await node.guard(node.pods.attacker);
    for (const attack of attacks) await node.send(attack);
    await guarded.counted({ 'redirect drop': 2 });
    await node.fence();
    expect(await route()).not.toContain('mtu');
  });

  /** Prints each error of a socket that is connected to an address elsewhere. */
  const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, 25, 1) # IPV6_RECVERR
s.bind(('${RECEIVER.ipv6}', 4000))
s.connect(('${ELSEWHERE.ipv6}', 53))
print('ready', flush=True)
while True:
    try:
        s.recv(1)
    except OSError as error:
        print('error', error.errno, flush=True)`;

  /** The error in two fragments, the first one with `bytes` bytes of it. */
  const inFragments = (error: Buffer, bytes: number): Buffer[] => {
    const message = error.subarray(54);
    const part = (from: number, to?: number) =>
      Buffer.concat([fragmentHeader(PROTOCOL.icmpv6, from, to !== undefined, bytes), message.subarray(from, to)]);
    return [part(0, bytes), part(bytes)].map((payload) =>
      frame(ETHERTYPE.ipv6, ipv6({ ...ends6, next: PROTOCOL.fragment }, payload)),
    );
  };
  const routedElsewhere = error6(1, routed6(ELSEWHERE.ipv6));

  it.each([
    ['of a type that has no meaning', 'redirect', [typed6(100, 0, sent6(ELSEWHERE.ipv6))]],
    ['of a quote whose last segment is the peer', 'redirect', [routedElsewhere]],
    ['whose routing header is in a second fragment', 'malformed', inFragments(routedElsewhere, 48)],
    ['whose last segment is in a second fragment', 'malformed', inFragments(routedElsewhere, 56)],
  ])("another pod's socket hears no error %s", async (_, vector, attack) => {
    const send = async (times: number) => {
      for (let i = 0; i < times; i += 1) for (const one of attack) await node.send(one);
    };
    const args = [`--net=/run/netns/${node.pods.receiver.netns}`, 'python3', '-c', LISTENER];
    await using socket = launch('nsenter', args);
    await socket.printed('ready');
    await send(1);
    await socket.printed('error');
    const before = socket.stdout();
    await using guarded = await node.guard(node.pods.attacker);
    await send(3);
    await guarded.counted({ [`${vector} drop`]: 3 });
    await node.fence();
    expect(socket.stdout()).toBe(before);
  });

  it('every pod answers an unknown option of a packet to all of them, which is no violation of theirs', async () => {
    const ends = { source: ATTACKER.linkLocal, destination: 'ff02::1' };
    const options = destinationOptions(PROTOCOL.udp, [Buffer.from([0x80, 4, 0, 0, 0, 0])]);
    const packet = ipv6({ ...ends, next: PROTOCOL.destinationOptions }, Buffer.concat([options, udp(4000, 9)]));
    await using guarded = await node.guard(node.pods.receiver);
    await using sniffer = launch('nsenter', [
      `--net=/run/netns/${node.pods.attacker.netns}`,
      frameHelper(),
      'sniff',
      'eth0',
    ]);
    await sniffer.printed('ready');
    await node.send(ethernet({ source: ATTACKER.mac, destination: '33:33:00:00:00:01', type: ETHERTYPE.ipv6 }, packet));
    await sniffer.printed(packet.toString('hex'));
    expect(await guarded.counts()).toEqual({});
  });

  it('a closed UDP port is still reported over both families', async () => {
    await using guarded = await node.guard(node.pods.receiver);
    const script = `
const [, address] = process.argv;
const socket = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
socket.on('error', (error) => { console.log(error.code); socket.close(); });
socket.connect(9, address, () => socket.send('?'));`;
    for (const address of [RECEIVER.ipv4, RECEIVER.ipv6]) {
      const reported = await commandIn(node.pods.attacker.netns, process.execPath, '-e', script, address);
      expect(reported.trim()).toBe('ECONNREFUSED');
    }
    expect(await guarded.counts()).toEqual({});
  });
});
