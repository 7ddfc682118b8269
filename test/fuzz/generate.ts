/**
 * Frames for the fuzz tests: built from pools in which valid and forged values are about equally
 * likely, then mutated (bytes flipped, cut, lengthened), and plain noise. Everything shrinks.
 */

import * as frames from '@bailiff/lab/frames';
import fc from 'fast-check';
import type { Metadata } from './packet.ts';
import {
  bytes,
  dhcpDatagram,
  IPV4S,
  IPV6S,
  MACS,
  mostly,
  ndOptions,
  OWN,
  oneOf,
  transport4,
  transport6,
} from './transports.ts';

const { PROTOCOL, ETHERTYPE } = frames;

export { OWN };

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
    source: oneOf(IPV4S),
    destination: oneOf(IPV4S),
    transport: transport4,
    options,
    offset,
    moreFragments: mostly(false, fc.constant(true)),
    version: mostly(4, fc.nat(15)),
    ihl: fc.option(fc.nat(15), { freq: 20, nil: undefined }),
    totalLength: fc.option(fc.nat(100), { freq: 20, nil: undefined }),
  })
  .map(({ transport, ...fields }) => frames.ipv4({ ...fields, protocol: transport.protocol }, transport.bytes));

const destinationOption = fc.oneof(
  oneOf(IPV6S).map((home) => Buffer.concat([Buffer.from([201, 16]), frames.ipv6Bytes(home)])),
  fc.tuple(oneOf([1, 4, 194, 201]), mostly(2, fc.nat(20))).map(([type, length]) => Buffer.from([type, length, 0, 0])),
);
type Header = { readonly number: number; readonly make: (next: number) => Buffer };
const header: fc.Arbitrary<Header> = fc.oneof(
  fc.constant<Header>({ number: PROTOCOL.hopByHop, make: frames.routerAlert }),
  fc.tuple(oneOf([0, 2, 3, 4]), oneOf(IPV6S), fc.nat(1)).map(([type, via, left]): Header => {
    return { number: PROTOCOL.routing, make: (next) => frames.routingHeader(next, type, via, left) };
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
    source: oneOf(IPV6S),
    destination: oneOf(IPV6S),
    transport: transport6,
    headers,
    hopLimit: oneOf([255, 255, 255, 64, 1]),
    version: mostly(6, fc.nat(15)),
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
    senderMac: oneOf(MACS),
    sender: oneOf(IPV4S),
    target: oneOf(IPV4S),
    operation: oneOf([1, 1, 2, 2, 3, 9]),
    hardware: mostly(1, fc.nat(9)),
    protocol: mostly(0x0800, fc.constant(0x86dd)),
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
    source: oneOf([OWN.ipv6, OWN.ipv6, OWN.linkLocal, 'fd78::1', '::']),
    destination: oneOf(IPV6S),
    transport: transport6,
    header: fc.option(header),
    hopLimit: oneOf([255, 255, 1]),
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
  inner: mostly(0, fc.oneof(oneOf([34, 42, 50, 54, 62, 66]), fc.integer({ min: 1, max: 120 }))),
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
