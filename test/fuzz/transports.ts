/**
 * Pools of addresses, and transport headers with payload for the fuzz tests. Valid and forged values
 * are about equally likely.
 */
import * as frames from '@bailiff/lab/frames';
import fc from 'fast-check';

const { PROTOCOL } = frames;

export const OWN = {
  mac: '02:00:00:00:77:0a',
  ipv4: '10.77.0.10',
  ipv6: 'fd77::10',
  linkLocal: 'fe80::ff:fe00:770a',
} as const;
export const MACS = [OWN.mac, OWN.mac, OWN.mac, '02:00:00:00:77:0b', 'ff:ff:ff:ff:ff:ff'];
export const IPV4S = [
  ...[OWN.ipv4, OWN.ipv4, OWN.ipv4, '10.77.0.11', '10.77.0.20', '10.78.1.2', '10.79.1.2', '0.0.0.0', '255.255.255.255'],
  ...['127.0.0.1', '224.0.0.1', '10.77.8.1', '10.77.8.2', '10.77.9.9', '8.8.8.8', '169.254.9.9'],
];
export const IPV6S = [
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

export const oneOf = <T>(list: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...list);
export const bytes = (maxLength: number, minLength = 0): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
export const mostly = <T>(value: T, otherwise: fc.Arbitrary<T>): fc.Arbitrary<T> =>
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
    client: oneOf(['0.0.0.0', '0.0.0.0', OWN.ipv4, '10.77.0.11', '10.78.1.2']),
    relay: mostly('0.0.0.0', fc.constant(OWN.ipv4)),
  })
  .chain((fields) => oneOf(MACS).map((mac) => frames.dhcp(mac, fields)));
const dhcpv6 = fc.tuple(fc.nat(13), bytes(8)).map(([type, rest]) => Buffer.concat([Buffer.from([type]), rest]));
const udp = fc
  .tuple(oneOf(PORTS), oneOf(PORTS), fc.oneof(bytes(30), dhcp, dhcpv6))
  .map(([source, destination, payload]) => frames.udp(source, destination, payload));
export const dhcpDatagram = fc.oneof(
  dhcp.map((body) => frames.udp(68, 67, body)),
  dhcpv6.map((body) => frames.udp(546, 547, body)),
);
const icmp = fc
  .tuple(oneOf([0, 3, 5, 8, 9, 10, 13]), fc.nat(1), bytes(12, 4))
  .map(([type, code, body]) => frames.icmp(type, code, body));

/** An error and the packet that it quotes, now and then not all of it. */
const errorOf = (quote: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.tuple(quote, mostly(200, fc.nat(90))).map(([packet, length]) => {
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
    ),
  )
  .map(([type, body]) => frames.icmp(type, 0, body));
/** An extension header of a quoted packet. */
const quotedHeader = fc.oneof(
  fc.tuple(oneOf([0, 2, 4, 4, 4]), oneOf(IPV6S), fc.nat(1)).map(([type, via, left]) => {
    return [PROTOCOL.routing, (next: number) => frames.routingHeader(next, type, via, left)] as const;
  }),
  fc.tuple(oneOf([PROTOCOL.hopByHop, PROTOCOL.destinationOptions]), mostly(0, fc.nat(70))).map(([number, units]) => {
    return [number, (next: number) => frames.extension(next, Buffer.alloc(units * 8 + 6))] as const;
  }),
  oneOf([0, 8]).map((at) => [PROTOCOL.fragment, (next: number) => frames.fragmentHeader(next, at, true)] as const),
  fc.nat(2).map((words) => [PROTOCOL.ah, (next: number) => frames.authentication(next, words)] as const),
);
const quotedHeaders = fc.oneof(fc.constant([]), fc.array(quotedHeader, { maxLength: 3 }), {
  weight: 1,
  arbitrary: fc.array(quotedHeader, { minLength: 7, maxLength: 9 }),
});
const error6 = fc
  .tuple(
    fc.oneof(oneOf([1, 2, 3, 4, 4, 4]), oneOf([0, 5, 100, 127])),
    fc.nat(2),
    errorOf(
      fc.tuple(oneOf(IPV6S), oneOf(IPV6S), quotedHeaders).map(([source, destination, headers]) => {
        let next: number = quoted.protocol;
        const parts = [quoted.bytes];
        for (const [number, make] of headers.toReversed()) {
          parts.unshift(make(next));
          next = number;
        }
        return frames.ipv6({ source, destination, next }, Buffer.concat(parts));
      }),
    ),
  )
  .map(([type, code, body]) => frames.icmpv6(type, body, undefined, code));

const ndOption = fc.oneof(
  fc.tuple(oneOf([1, 2] as const), oneOf(MACS)).map(([type, mac]) => frames.macOption(type, mac)),
  fc.constant(Buffer.from([14, 1, 1, 2, 3, 4, 5, 6])),
  fc
    .tuple(fc.nat(5), mostly(1, fc.nat(3)), bytes(6, 6))
    .map(([type, length, body]) => Buffer.concat([Buffer.from([type, length]), body])),
);
export const ndOptions = fc.oneof(
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
const prefixOption = fc
  .tuple(oneOf([3, 3, 3, 24]), mostly(4, fc.nat(5)), oneOf([0x40, 0xc0, 0x80]), oneOf(IPV6S))
  .map(([type, length, flags, prefix]) =>
    Buffer.concat([Buffer.from([type, length, 64, flags]), Buffer.alloc(12), frames.ipv6Bytes(prefix)]),
  );
const raOption = fc.oneof(prefixOption, fc.constant(Buffer.from([5, 1, 0, 0, 0, 0, 5, 220])));
const advertisement = fc
  .oneof(fc.array(raOption, { maxLength: 3 }), fc.array(raOption, { minLength: 10, maxLength: 20 }))
  .map((options) => frames.icmpv6(134, Buffer.concat([Buffer.alloc(12), ...options])));
const icmpv6 = fc
  .tuple(oneOf([1, 128, 129, 130, 131, 132, 138, 141, 142, 143, 151, 153, 154]), bytes(24, 4))
  .map(([type, body]) => frames.icmpv6(type, body));

const igmp = fc
  .tuple(oneOf([0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x22, 0x30, 0x32]), oneOf(IPV4S))
  .map(([type, group]) => frames.igmp(type, group));
const vrrp = (addresses: readonly string[], own: string) =>
  fc
    .tuple(fc.array(fc.oneof(fc.constant(own), oneOf(addresses)), { maxLength: 3 }), mostly(0, fc.nat(12)))
    .map(([list, more]) => frames.vrrp(list, list.length + more));

interface Transport {
  readonly protocol: number;
  readonly bytes: Buffer;
}
const as = (protocol: number, arbitrary: fc.Arbitrary<Buffer>): fc.Arbitrary<Transport> =>
  arbitrary.map((payload) => ({ protocol, bytes: payload }));
const otherTransport = fc
  .tuple(oneOf([...Object.values(PROTOCOL), 97, 115, 137, 143, 253]), bytes(24))
  .map(([protocol, payload]) => ({ protocol, bytes: payload }));
/** What an authentication header carries in IPv4. */
const authenticated = fc
  .tuple(oneOf([PROTOCOL.udp, PROTOCOL.ipip, PROTOCOL.ah, PROTOCOL.pim]), mostly(1, fc.nat(4)), bytes(30))
  .map(([next, words, payload]) => {
    return { protocol: PROTOCOL.ah, bytes: Buffer.concat([frames.authentication(next, words), payload]) };
  });
export const transport4 = fc.oneof(
  as(PROTOCOL.tcp, tcp),
  as(PROTOCOL.udp, udp),
  as(PROTOCOL.udp, dhcpDatagram),
  as(PROTOCOL.icmp, icmp),
  as(PROTOCOL.icmp, error4),
  as(PROTOCOL.igmp, igmp),
  as(PROTOCOL.vrrp, vrrp(IPV4S, OWN.ipv4)),
  authenticated,
  otherTransport,
);
export const transport6 = fc.oneof(
  ...[as(PROTOCOL.tcp, tcp), as(PROTOCOL.udp, udp), as(PROTOCOL.udp, dhcpDatagram), otherTransport],
  ...[as(PROTOCOL.icmpv6, nd), as(PROTOCOL.icmpv6, nd), as(PROTOCOL.icmpv6, icmpv6)],
  ...[as(PROTOCOL.icmpv6, error6), as(PROTOCOL.icmpv6, advertisement)],
  as(PROTOCOL.vrrp, vrrp(IPV6S, OWN.ipv6)),
);
