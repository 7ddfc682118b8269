/**
 * Frames for the fuzz tests: built from pools in which valid and forged values are about equally
 * likely, then mutated (bytes flipped, cut, lengthened), and plain noise. Everything shrinks.
 */

import * as frames from '@bailiff/lab/frames';
import fc from 'fast-check';
import type { Metadata } from './packet.ts';

const { PROTOCOL, ETHERTYPE } = frames;

export const OWN = {
  mac: '02:00:00:00:77:0a',
  ipv4: '10.77.0.10',
  ipv6: 'fd77::10',
  linkLocal: 'fe80::ff:fe00:770a',
} as const;
const MACS = [OWN.mac, OWN.mac, OWN.mac, '02:00:00:00:77:0b', 'ff:ff:ff:ff:ff:ff'];
const IPV4S = [
  ...[OWN.ipv4, OWN.ipv4, OWN.ipv4, '10.77.0.11', '10.77.0.20', '10.78.1.2', '10.79.1.2', '0.0.0.0', '255.255.255.255'],
  ...['127.0.0.1', '224.0.0.1', '10.77.8.1', '10.77.8.2', '10.77.9.9', '8.8.8.8', '169.254.9.9'],
];
const IPV6S = [
  ...[
    OWN.ipv6,
    OWN.ipv6,
    OWN.ipv6,
    OWN.linkLocal,
    OWN.linkLocal,
    'fe80::99',
    'fe80::abcd',
    'fe80::ff:fe00:770b',
    'fe80:1::ff:fe00:770a',
    '::',
    '::',
    '::1',
  ],
  ...[
    'fd77::11',
    'fd78::1',
    'fd79::1',
    'ff02::1',
    'ff02::2',
    'ff02::16',
    'ff02::1:2',
    'ff05::1:3',
    'fd88::1',
    'fd88::2',
    'fd99::9',
  ],
  ...['2001:4860::8', 'fec0::1', '64:ff9b::a4d:801', '64:ff9b::808:808', '64:ff9b::a4d:9'],
  ...['::ffff:10.77.0.10', frames.solicitedNode(OWN.ipv6), frames.solicitedNode(OWN.linkLocal)],
];
const PORTS = [67, 68, 546, 547, 4789, 6081, 5300, 5301, 8080, 8081, 53, 40_000];

const oneOf = <T>(list: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...list);
const bytes = (maxLength: number, minLength = 0): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
const mostly = <T>(value: T, otherwise: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: otherwise });

const tcp = fc
  .record({
    source: oneOf(PORTS),
    destination: oneOf(PORTS),
    flags: oneOf([2, 16, 18, 4]),
    dataOffset: mostly(5, fc.nat(15)),
  })
  .chain((fields) => bytes(40).map((payload) => frames.tcp(fields, payload)));
const dhcp = fc
  .record({
    op: mostly(1, fc.constant(2)),
    magic: mostly(0x63825363, fc.constant(7)),
    hardware: mostly(1, fc.constant(6)),
  })
  .chain((fields) => oneOf(MACS).map((mac) => frames.dhcp(mac, fields)));
const dhcpv6 = fc.tuple(fc.nat(13), bytes(8)).map(([type, rest]) => Buffer.concat([Buffer.from([type]), rest]));
const udp = fc
  .tuple(oneOf(PORTS), oneOf(PORTS), fc.oneof(bytes(30), dhcp, dhcpv6))
  .map(([source, destination, payload]) => frames.udp(source, destination, payload));
const dhcpDatagram = fc.oneof(
  dhcp.map((body) => frames.udp(68, 67, body)),
  dhcpv6.map((body) => frames.udp(546, 547, body)),
);
const icmp = fc
  .tuple(oneOf([0, 3, 5, 8, 9, 10]), fc.nat(1), bytes(12, 4))
  .map(([type, code, body]) => frames.icmp(type, code, body));

/** An error and the packet that it quotes, now and then not the whole header of it. */
const errorOf = (quote: fc.Arbitrary<Buffer>, header: number): fc.Arbitrary<Buffer> =>
  fc.tuple(quote, mostly(header + 8, fc.nat(header + 8))).map(([packet, length]) => {
    return Buffer.concat([Buffer.alloc(4), packet.subarray(0, length)]);
  });
const quoted = { protocol: PROTOCOL.udp, bytes: frames.udp(40_000, 53) };
const error4 = fc
  .tuple(
    oneOf([3, 4, 11, 12]),
    errorOf(
      fc.tuple(oneOf(IPV4S), oneOf(IPV4S)).map(([source, destination]) => {
        return frames.ipv4({ source, destination, protocol: quoted.protocol }, quoted.bytes);
      }),
      20,
    ),
  )
  .map(([type, body]) => frames.icmp(type, 0, body));
const error6 = fc
  .tuple(
    oneOf([1, 2, 3, 4]),
    errorOf(
      fc.tuple(oneOf(IPV6S), oneOf(IPV6S)).map(([source, destination]) => {
        return frames.ipv6({ source, destination, next: quoted.protocol }, quoted.bytes);
      }),
      40,
    ),
  )
  .map(([type, body]) => frames.icmpv6(type, body));

const ndOption = fc.oneof(
  fc.tuple(oneOf([1, 2] as const), oneOf(MACS)).map(([type, mac]) => frames.macOption(type, mac)),
  fc.constant(Buffer.from([14, 1, 1, 2, 3, 4, 5, 6])),
  fc
    .tuple(fc.nat(5), mostly(1, fc.nat(3)), bytes(6, 6))
    .map(([type, length, body]) => Buffer.concat([Buffer.from([type, length]), body])),
);
const ndOptions = fc.oneof(
  { weight: 5, arbitrary: fc.array(ndOption, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(ndOption, { maxLength: 10 }) },
);
const nd = fc
  .record({
    type: oneOf([133, 134, 135, 135, 136, 136, 137]),
    target: oneOf(IPV6S),
    options: ndOptions,
    code: mostly(0, fc.constant(1)),
  })
  .map(({ type, target, options, code }) => {
    const rest = Buffer.concat(options);
    const body = type === 133 ? Buffer.concat([Buffer.alloc(4), rest]) : frames.ndBody(target, rest);
    return frames.icmpv6(type, body, undefined, code);
  });
const icmpv6 = fc
  .tuple(oneOf([1, 128, 129, 130, 131, 132, 143]), bytes(24, 4))
  .map(([type, body]) => frames.icmpv6(type, body));

interface Transport {
  readonly protocol: number;
  readonly bytes: Buffer;
}
const as = (protocol: number, arbitrary: fc.Arbitrary<Buffer>): fc.Arbitrary<Transport> =>
  arbitrary.map((payload) => ({ protocol, bytes: payload }));
const otherTransport = fc
  .tuple(oneOf([...Object.values(PROTOCOL), 97, 115, 137, 143, 253]), bytes(24))
  .map(([protocol, payload]) => ({ protocol, bytes: payload }));
const transport4 = fc.oneof(
  as(PROTOCOL.tcp, tcp),
  as(PROTOCOL.udp, udp),
  as(PROTOCOL.udp, dhcpDatagram),
  as(PROTOCOL.icmp, icmp),
  as(PROTOCOL.icmp, error4),
  otherTransport,
);
const transport6 = fc.oneof(
  ...[as(PROTOCOL.tcp, tcp), as(PROTOCOL.udp, udp), as(PROTOCOL.udp, dhcpDatagram), otherTransport],
  ...[as(PROTOCOL.icmpv6, nd), as(PROTOCOL.icmpv6, nd), as(PROTOCOL.icmpv6, icmpv6)],
  as(PROTOCOL.icmpv6, error6),
);

const option = fc.oneof(
  fc.constant(Buffer.from([1])),
  fc.constant(Buffer.from([0])),
  fc.constant(Buffer.from([131, 7, 4, 10, 77, 0, 1])),
  fc.constant(Buffer.from([137, 3, 4])),
  fc.constant(Buffer.from([148, 4, 0, 0])),
  bytes(5, 1),
);
const options = fc.oneof(
  { weight: 6, arbitrary: fc.constant(Buffer.alloc(0)) },
  { weight: 2, arbitrary: fc.array(option, { maxLength: 8 }).map((list) => Buffer.concat(list).subarray(0, 40)) },
);
const offset = fc.oneof(
  { weight: 8, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: oneOf([8, 64, 65_528, 65_504]) },
);

const ipv4 = fc
  .record({
    ...{ source: oneOf(IPV4S), destination: oneOf(IPV4S), transport: transport4, options, offset },
    ...{ moreFragments: mostly(false, fc.constant(true)), version: mostly(4, fc.nat(15)) },
    ...{
      ihl: fc.option(fc.nat(15), { freq: 20, nil: undefined }),
      totalLength: fc.option(fc.nat(100), { freq: 20, nil: undefined }),
    },
  })
  .map(({ transport, ...fields }) => frames.ipv4({ ...fields, protocol: transport.protocol }, transport.bytes));

const destinationOption = fc.oneof(
  oneOf(IPV6S).map((home) => Buffer.concat([Buffer.from([201, 16]), frames.ipv6Bytes(home)])),
  fc.tuple(oneOf([1, 4, 194, 201]), mostly(2, fc.nat(20))).map(([type, length]) => Buffer.from([type, length, 0, 0])),
);
type Header = { readonly number: number; readonly make: (next: number) => Buffer };
const header: fc.Arbitrary<Header> = fc.oneof(
  fc.constant<Header>({ number: PROTOCOL.hopByHop, make: frames.routerAlert }),
  fc.tuple(oneOf([0, 2, 4]), oneOf(IPV6S)).map(([type, via]): Header => {
    return { number: PROTOCOL.routing, make: (next) => frames.routingHeader(next, type, via) };
  }),
  fc.tuple(oneOf([0, 0, 8, 64, 65_528]), fc.boolean()).map(([at, more]): Header => {
    return { number: PROTOCOL.fragment, make: (next) => frames.fragmentHeader(next, at, more) };
  }),
  fc.tuple(bytes(14), fc.option(fc.nat(3), { freq: 10, nil: undefined })).map(([body, units]): Header => {
    return { number: PROTOCOL.destinationOptions, make: (next) => frames.extension(next, body, units) };
  }),
  fc
    .array(fc.oneof(fc.constant(Buffer.alloc(1)), destinationOption, destinationOption), { maxLength: 20 })
    .map((list): Header => {
      return { number: PROTOCOL.destinationOptions, make: (next) => frames.destinationOptions(next, list) };
    }),
  fc.nat(2).map((words): Header => {
    const make = (next: number) => Buffer.concat([Buffer.from([next, words, 0, 0]), Buffer.alloc(words * 4 + 4)]);
    return { number: PROTOCOL.ah, make };
  }),
);
const headers = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Header[]>([]) },
  { weight: 3, arbitrary: fc.array(header, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(header, { maxLength: 10 }) },
);

const ipv6 = fc
  .record({
    ...{ source: oneOf(IPV6S), destination: oneOf(IPV6S), transport: transport6, headers },
    ...{ hopLimit: oneOf([255, 255, 255, 64, 1]), version: mostly(6, fc.nat(15)) },
    payloadLength: fc.option(fc.nat(100), { freq: 20, nil: undefined }),
  })
  .map(({ transport, headers: chain, ...fields }) => {
    let next = transport.protocol;
    const parts = [transport.bytes];
    for (const { number, make } of [...chain].reverse()) {
      parts.unshift(make(next));
      next = number;
    }
    return frames.ipv6({ ...fields, next }, Buffer.concat(parts));
  });

const arp = fc
  .record({
    ...{ senderMac: oneOf(MACS), sender: oneOf(IPV4S), target: oneOf(IPV4S), operation: oneOf([1, 1, 2, 2, 3, 9]) },
    ...{ hardware: mostly(1, fc.nat(9)), protocol: mostly(0x0800, fc.constant(0x86dd)) },
    lengths: mostly<[number, number]>([6, 4], fc.constant([8, 4])),
  })
  .map(frames.arp);

const tags = fc.oneof(
  { weight: 12, arbitrary: fc.constant([]) },
  {
    weight: 1,
    arbitrary: fc.array(fc.record({ tpid: oneOf([ETHERTYPE.vlan, ETHERTYPE.qinq]), tci: fc.nat(4095) }), {
      maxLength: 4,
    }),
  },
);
const payload = fc.oneof(
  { weight: 6, arbitrary: ipv4.map((packet) => ({ type: ETHERTYPE.ipv4 as number, packet })) },
  { weight: 10, arbitrary: ipv6.map((packet) => ({ type: ETHERTYPE.ipv6 as number, packet })) },
  { weight: 3, arbitrary: arp.map((packet) => ({ type: ETHERTYPE.arp as number, packet })) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(0xffff), bytes(60)).map(([type, packet]) => ({ type, packet })) },
);

const whole: fc.Arbitrary<Buffer> = fc
  .record({ source: oneOf(MACS), destination: oneOf(MACS), tags, payload, trailer: mostly(0, fc.nat(30)) })
  .map(({ payload: { type, packet }, trailer, ...fields }) =>
    Buffer.concat([frames.ethernet({ ...fields, type }, packet), Buffer.alloc(trailer)]),
  );

/**
 * One step from valid: the pod's own MAC and nothing malformed, so that a single wrong value
 * decides.
 */
const near4 = fc
  .record({
    source: oneOf([OWN.ipv4, OWN.ipv4, '10.77.0.20', '10.78.1.2', '0.0.0.0', '127.0.0.1', '224.0.0.1']),
    destination: oneOf(IPV4S),
    transport: transport4,
  })
  .map(({ transport, ...fields }) => frames.ipv4({ ...fields, protocol: transport.protocol }, transport.bytes));
const near6 = fc
  .record({
    ...{ source: oneOf([OWN.ipv6, OWN.ipv6, OWN.linkLocal, 'fd78::1', '::']), destination: oneOf(IPV6S) },
    ...{ transport: transport6, header: fc.option(header), hopLimit: oneOf([255, 255, 1]) },
  })
  .map(({ transport, header: extra, ...fields }) => {
    const { protocol, bytes: rest } = transport;
    if (extra === null) return frames.ipv6({ ...fields, next: protocol }, rest);
    return frames.ipv6({ ...fields, next: extra.number }, Buffer.concat([extra.make(protocol), rest]));
  });
const dhcpAsked = dhcpDatagram.map((datagram) =>
  datagram.readUInt16BE(0) === 68
    ? frames.ipv4({ source: '0.0.0.0', destination: '255.255.255.255', protocol: PROTOCOL.udp }, datagram)
    : frames.ipv6({ source: '::', destination: 'ff02::1:2', next: PROTOCOL.udp }, datagram),
);
const detection = fc.tuple(oneOf(IPV6S), ndOptions, oneOf([255, 255, 255, 64])).map(([target, list, hopLimit]) => {
  const message = frames.icmpv6(135, frames.ndBody(target, Buffer.concat(list)));
  return frames.ipv6(
    { source: '::', destination: frames.solicitedNode(target), next: PROTOCOL.icmpv6, hopLimit },
    message,
  );
});
/** Around the bound on extension headers. */
const longChain = fc.tuple(fc.integer({ min: 7, max: 10 }), transport6).map(([count, { protocol, bytes: rest }]) => {
  const chain = Array.from({ length: count }, (_, i) =>
    frames.extension(i === count - 1 ? protocol : PROTOCOL.destinationOptions),
  );
  const fields = { source: OWN.ipv6, destination: 'fd77::11', next: PROTOCOL.destinationOptions };
  return frames.ipv6(fields, Buffer.concat([...chain, rest]));
});
/** PadN options of so many bytes, at least 2. */
const padding = (bytes: number): Buffer[] => (bytes > 257 ? [padN(200), ...padding(bytes - 200)] : [padN(bytes)]);
const padN = (bytes: number): Buffer => Buffer.concat([Buffer.from([1, bytes - 2]), Buffer.alloc(bytes - 2)]);
/** Around the last byte that is read: a transport header, the head of an option, a field of a message. */
const longHeader = fc
  .tuple(
    ...([fc.integer({ min: 44, max: 60 }), fc.boolean(), fc.option(destinationOption, { freq: 2 })] as const),
    ...([transport6, oneOf([OWN.ipv6, OWN.ipv6, OWN.linkLocal, '::'])] as const),
  )
  .map(([units, isHopByHop, last, { protocol, bytes: rest }, source]) => {
    const options = [...padding(8 * units - 2 - (last?.length ?? 0)), ...(last === null ? [] : [last])];
    const extension = frames.destinationOptions(protocol, options);
    const next = isHopByHop ? PROTOCOL.hopByHop : PROTOCOL.destinationOptions;
    const destination = source === '::' ? 'ff02::1:2' : 'fd77::11';
    return frames.ipv6({ source, destination, next, hopLimit: 255 }, Buffer.concat([extension, rest]));
  });
/** Options of neighbour discovery around the last byte that is read. */
const longOptions = fc
  .tuple(fc.integer({ min: 50, max: 56 }), oneOf([135, 136]), oneOf([OWN.ipv6, 'fd77::11']), oneOf(MACS))
  .map(([units, type, target, mac]) => {
    const long = Buffer.concat([Buffer.from([14, units]), Buffer.alloc(8 * units - 2)]);
    const message = frames.icmpv6(type, frames.ndBody(target, Buffer.concat([long, frames.macOption(2, mac)])));
    const fields = { source: OWN.ipv6, destination: 'fd77::11', next: PROTOCOL.icmpv6, hopLimit: 255 };
    return frames.ipv6(fields, message);
  });
/** Packets whose ports quarantine would pass, if this machine had a socket for them. */
const probe = fc
  .record({
    is4: fc.boolean(),
    mine: oneOf([8080, 8081, 40_000]),
    theirs: oneOf([8080, 40_000]),
    flags: oneOf([2, 16, 18, 4]),
    isTcp: fc.boolean(),
  })
  .map(({ is4, mine, theirs, flags, isTcp }) => {
    const rest = isTcp ? frames.tcp({ source: mine, destination: theirs, flags }) : frames.udp(mine, theirs);
    const protocol = isTcp ? PROTOCOL.tcp : PROTOCOL.udp;
    return is4
      ? frames.ipv4({ source: OWN.ipv4, destination: '10.77.8.1', protocol }, rest)
      : frames.ipv6({ source: OWN.ipv6, destination: 'fd88::1', next: protocol }, rest);
  });
/** From a node or an allowed network to the pod. */
const inbound = fc
  .tuple(fc.boolean(), fc.nat(2), oneOf([8080, 8081, 53]), oneOf([4, 4, 20, 2, 16]), mostly(0, fc.nat(20)))
  .map(([is4, from, port, flags, length]) => {
    const rest = frames.tcp({ source: 40_000, destination: port, flags }, Buffer.alloc(length));
    const source = (is4 ? ['10.77.8.1', '10.77.8.2', '10.77.9.9'] : ['fd88::1', 'fd88::2', 'fd99::9'])[from]!;
    return is4
      ? frames.ipv4({ source, destination: OWN.ipv4, protocol: PROTOCOL.tcp }, rest)
      : frames.ipv6({ source, destination: OWN.ipv6, next: PROTOCOL.tcp }, rest);
  });
const near: fc.Arbitrary<Buffer> = fc
  .tuple(
    oneOf(MACS),
    fc.oneof(
      near4,
      near4,
      near6,
      near6,
      near6,
      dhcpAsked,
      detection,
      longChain,
      longHeader,
      longOptions,
      probe,
      inbound,
      inbound,
    ),
    mostly(0, fc.nat(40)),
  )
  .map(([destination, packet, trailer]) => {
    const type = packet[0]! >> 4 === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
    return Buffer.concat([frames.ethernet({ source: OWN.mac, destination, type }, packet), Buffer.alloc(trailer)]);
  });

type Change = readonly [at: number, value: number];
const bent: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.oneof(whole, near),
    fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 3 }),
    fc.option(fc.nat(160), { freq: 2 }),
  )
  .map(([frame, changes, cut]: [Buffer, Change[], number | null]) => {
    const copy = Buffer.from(frame);
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    return cut === null ? copy : copy.subarray(0, Math.max(14, cut));
  });

const noise: fc.Arbitrary<Buffer> = fc
  .tuple(oneOf([ETHERTYPE.ipv4, ETHERTYPE.ipv6, ETHERTYPE.arp, ETHERTYPE.vlan]), bytes(1486))
  .map(([type, packet]) => frames.ethernet({ source: OWN.mac, destination: OWN.mac, type }, packet));

/** Where honest senders and others leave a checksum to the kernel. */
const checksum = fc.oneof(
  { weight: 8, arbitrary: fc.constant(null) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(oneOf([34, 54, 34, 54, 38, 42, 58, 62, 74, 82, 94]), oneOf([16, 6, 6, 2, 8, 4]))
      .map(([start, place]) => ({ start, place })),
  },
  { weight: 2, arbitrary: fc.record({ start: fc.integer({ min: -4, max: 120 }), place: fc.nat(60) }) },
);
export const anyMetadata: fc.Arbitrary<Metadata> = fc.record({
  checksum,
  gsoSize: mostly(0, fc.constant(100)),
  joined: mostly(false, fc.constant(true)),
});

/**
 * Length of the shortest frame that a test run accepts, by EtherType: bpf_prog_test_run_skb() needs
 * the whole network header. The kernel tier sends shorter frames.
 */
export function shortestFrame(type: number): number {
  if (type === ETHERTYPE.ipv4) return 34;
  return type === ETHERTYPE.ipv6 ? 54 : 14;
}

/** Frames that a test run accepts. */
export const anyFrame: fc.Arbitrary<Buffer> = fc
  .oneof(
    { weight: 3, arbitrary: whole },
    { weight: 4, arbitrary: near },
    { weight: 4, arbitrary: bent },
    { weight: 1, arbitrary: noise },
  )
  .filter((frame) => frame.length >= 14 && frame.length >= shortestFrame(frame.readUInt16BE(12)));
