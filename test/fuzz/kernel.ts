/**
 * The packet programs for the fuzz tests: loaded with separate maps and the record of one
 * interface, run frame by frame. A test run gives the program a frame on the loopback device, so
 * the record has its ifindex, 1, and no namespace is needed. A test run cannot set a packet's
 * checksum fields: the program reads them from `cb` instead (offload.h). The kernel tier covers the
 * kernel's own fields with real frames.
 */
import { mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type AddressGrant,
  BpfProgram,
  COUNTER_NUMBERS,
  detachAll,
  FOREVER_NS,
  type IfaceRecord,
  mountBpffs,
  type Network,
  openSpoofObject,
  parseAddress,
  parseCidr,
  parseMac,
  type SpoofObject,
  type TunnelService,
  VECTORS,
  type Vector,
  type VectorModes,
  vectorModes,
} from '@bailiff/bpf';
import fc from 'fast-check';
import { command } from '../kernel/harness/processes.ts';
import { OWN } from './generate.ts';
import type { World } from './model.ts';
import type { Metadata } from './packet.ts';

export const KEY = { ifindex: 1, generation: 1 } as const;
export const DROP = 2;
export const PASS = -1;
/** struct counters: cells by vector, action and state, of three numbers each. */
const [VECTOR_SLOTS, STATES, NUMBERS, SKBS] = [32, 3, 3, 1];
const ACTIONS = ['audit', 'drop'] as const;
export const NODES = [
  { address: '10.77.8.1', thisNode: true },
  { address: 'fd88::1', thisNode: true },
  { address: '10.77.8.2', thisNode: false },
  { address: 'fd88::2', thisNode: false },
];
export const TUNNEL_PORTS = [
  { port: 4789, kind: 'vxlan' },
  { port: 6081, kind: 'geneve' },
  // Of Services.
  { port: 5300, kind: 'vxlan' },
  { port: 5301, kind: 'vxlan' },
] as const;
export const NETWORKS: Network[] = [
  { cidr: '10.77.0.0/16', place: 'inside' },
  { cidr: '10.77.9.0/24', place: 'outside' },
  { cidr: '10.78.1.2', place: 'node' },
  { cidr: 'fd00::/8', place: 'inside' },
  { cidr: 'fd99::/16', place: 'outside' },
  { cidr: 'fd78::1', place: 'node' },
  // Longer than nothing, and of both families.
  { cidr: '::/0', place: 'inside' },
  { cidr: '0.0.0.0/0', place: 'outside' },
  // Never outside, whatever a network says.
  { cidr: 'ff02::/16', place: 'outside' },
  { cidr: '224.0.0.0/4', place: 'outside' },
  { cidr: '2001:4860::/32', place: 'outside' },
];
export const SERVICES: TunnelService[] = [
  { address: '10.77.0.20', port: 5300, kinds: ['translated'] },
  { address: 'fd79::1', port: 5300, kinds: ['translated'] },
  { address: '10.77.9.9', port: 4789, kinds: ['translated'] },
  { address: null, port: 5300, kinds: ['only'] },
  { address: null, port: 5301, kinds: ['only', 'node-port'] },
];
export const ALLOWED = ['10.77.9.0/24', 'fd99::/16'];
const GRANTS: AddressGrant[] = [
  { cidr: '10.77.0.20', neighbour: true },
  { cidr: '10.78.0.0/16', neighbour: false },
  { cidr: '10.78.1.0/24', neighbour: false, source: false, tunnel: true },
  { cidr: '10.79.0.0/16', neighbour: false, source: false, tunnel: true },
  { cidr: 'fd77::11', neighbour: false, tunnel: true },
  { cidr: 'fd78::/32', neighbour: false },
  { cidr: 'fd79::1', neighbour: true },
  { cidr: 'fe80::abcd', neighbour: true },
  { cidr: '::/0', neighbour: false },
  { cidr: '0.0.0.0/0', neighbour: true },
  { cidr: '02:00:00:00:77:0b', neighbour: false },
  { cidr: 'ff:ff:ff:ff:ff:ff', neighbour: false },
  // Of other interfaces of the pod: without a right, in a granted prefix, a destination of tunnels, never a source.
  { cidr: '10.77.0.11', neighbour: false, source: false, other: true },
  { cidr: '10.78.1.2', neighbour: false, other: true },
  { cidr: '10.77.9.9', neighbour: false, source: false, tunnel: true, other: true },
  { cidr: '127.0.0.1', neighbour: false, source: false, other: true },
  { cidr: 'fd78::1', neighbour: false, source: false, other: true },
];
const isMac = ({ cidr }: AddressGrant): boolean => /^(..:){5}..$/.test(cidr);

/** Offsets in struct __sk_buff (include/uapi/linux/bpf.h). */
const CONTEXT = { cb: 48, gsoSize: 176, bytes: 192 } as const;
function contextOf({ checksum, gsoSize, joined, inner }: Metadata): Buffer {
  const context = Buffer.alloc(CONTEXT.bytes);
  if (checksum !== null) {
    context.writeInt32LE(1, CONTEXT.cb);
    context.writeInt32LE(checksum.start, CONTEXT.cb + 4);
    context.writeInt32LE(checksum.place, CONTEXT.cb + 8);
  }
  context.writeInt32LE(joined ? 1 : 0, CONTEXT.cb + 12);
  context.writeInt32LE(inner, CONTEXT.cb + 16);
  context.writeUInt32LE(gsoSize, CONTEXT.gsoSize);
  return context;
}

/** The programs, built to read a packet's checksum fields from `cb`. */
async function build(dir: string): Promise<string> {
  const source = path.join(import.meta.dirname, '../../libs/bpf/bpf/spoof.bpf.c');
  const include = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-std=gnu17', '-idirafter', include, '-DOFFLOAD_FROM_CB'];
  const out = path.join(dir, 'spoof.bpf.o');
  await command('clang-19', ...flags, '-c', source, '-o', out);
  return out;
}

const big = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);
const address = (text: string): bigint => big(parseAddress(text));
function network(text: string) {
  const cidr = parseCidr(text);
  return { family: cidr.family, network: big(cidr.bytes), bits: cidr.prefixLength + (cidr.family === 4 ? 96 : 0) };
}

export interface Setting {
  readonly hasMac: boolean;
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
  readonly grants: AddressGrant[];
  /** An expired quarantine keeps a packet off the fast path and changes nothing else. */
  readonly quarantine: 'none' | 'over' | 'on';
  /** Default false. */
  readonly orphaned?: boolean;
}
export const setting: fc.Arbitrary<Setting> = fc.record({
  hasMac: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  hasIpv4: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  hasIpv6: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  grants: fc.oneof(
    { weight: 2, arbitrary: fc.constant<AddressGrant[]>([]) },
    { weight: 1, arbitrary: fc.subarray(GRANTS) },
  ),
  quarantine: fc.constantFrom('none', 'none', 'over', 'on'),
  orphaned: fc.oneof({ weight: 8, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

export function worldOf({ hasMac, hasIpv4, hasIpv6, grants, orphaned = false }: Setting): World {
  return {
    orphaned,
    mac: hasMac ? big(parseMac(OWN.mac)) : null,
    ipv4: hasIpv4 ? address(OWN.ipv4) : null,
    ipv6: hasIpv6 ? address(OWN.ipv6) : null,
    grants: grants
      .filter((grant) => !isMac(grant))
      .map(({ cidr, neighbour, source = true, tunnel = false, other = false }) => {
        return { ...network(cidr), neighbour, source, tunnel, other };
      }),
    macs: new Set(grants.filter(isMac).map(({ cidr }) => big(parseMac(cidr)))),
    nodes: new Map(NODES.map((node) => [address(node.address), node.thisNode ? 'this' : 'other'])),
    networks: NETWORKS.map(({ cidr, place }) => ({ ...network(cidr), place })),
    tunnelPorts: new Set(TUNNEL_PORTS.map(({ port }): number => port)),
    services: SERVICES.map(({ address: to, ...service }) => ({ ...service, address: to === null ? 0n : address(to) })),
    allowed: ALLOWED.map(network),
    probes: [
      { port: 8080, protocol: 6 },
      { port: 8081, protocol: 17 },
    ],
  };
}

export const enforceAll = vectorModes(() => 'enforce');

if (COUNTER_NUMBERS !== VECTOR_SLOTS * ACTIONS.length * STATES * NUMBERS) throw new Error('struct counters is another');
const skbsAt = (vector: number, action: number): number[] =>
  Array.from({ length: STATES }, (_, state) => ((vector * ACTIONS.length + action) * STATES + state) * NUMBERS + SKBS);

/** The order in which modes are applied: others can cause what else a packet of other-interface violates. */
const ORDER = VECTORS.flatMap((vector): Vector[] => {
  if (vector === 'other-interface') return [];
  return vector === 'redirect' ? ['other-interface', vector] : [vector];
});
export const inOrder = (set: Iterable<Vector>): Vector[] =>
  [...set].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));

/** The programs, loaded. */
export class FuzzKernel implements AsyncDisposable {
  readonly object: SpoofObject;
  readonly ingress: BpfProgram;
  readonly egress: BpfProgram;
  readonly #bpffs: string;
  readonly #pinDir: string;
  #granted: readonly AddressGrant[] = [];
  #before = new Float64Array(COUNTER_NUMBERS);
  #now = new Float64Array(COUNTER_NUMBERS);

  private constructor(bpffs: string, objectPath: string) {
    this.#bpffs = bpffs;
    this.#pinDir = path.join(bpffs, 'spoof');
    this.object = openSpoofObject({ pinDir: this.#pinDir, maxInterfaces: 4, objectPath });
    this.ingress = BpfProgram.openPinned(path.join(this.#pinDir, 'programs/spoof_ingress'));
    this.egress = BpfProgram.openPinned(path.join(this.#pinDir, 'programs/spoof_egress'));
    const { maps } = this.object;
    maps.counters.create(KEY);
    maps.setSettings({ sampleBurst: 8, samplesPerSecond: 1000, unknownMode: 'audit' });
    maps.nodeAddresses.replace(NODES);
    maps.allowedCidrs.replace(ALLOWED);
    maps.networks.replace(NETWORKS);
    maps.tunnelPorts.replace(TUNNEL_PORTS);
    maps.tunnelServices.replace(SERVICES);
    maps.probePorts.replace(KEY, [
      { port: 8080, protocol: 'tcp' },
      { port: 8081, protocol: 'udp' },
    ]);
  }

  static async open(): Promise<FuzzKernel> {
    const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-fuzz-'));
    const built = mkdtempSync(path.join(tmpdir(), 'bailiff-fuzz-object-'));
    mountBpffs(bpffs);
    try {
      return new FuzzKernel(bpffs, await build(built));
    } finally {
      rmSync(built, { recursive: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ingress.close();
    this.egress.close();
    this.object.close();
    detachAll(this.#pinDir);
    await command('umount', this.#bpffs);
    rmdirSync(this.#bpffs);
  }

  /** Writes the record. */
  program({ hasMac, hasIpv4, hasIpv6, grants, quarantine, orphaned = false }: Setting, modes: VectorModes): void {
    const record: IfaceRecord = {
      ...KEY,
      slot: 0,
      state: 'programmed' as const,
      modes,
      sampling: null,
      auditUntilNs: 0n,
      hasMore: grants.length > 0,
      mac: hasMac ? OWN.mac : null,
      ipv4: hasIpv4 ? OWN.ipv4 : null,
      ipv6: hasIpv6 ? OWN.ipv6 : null,
      quarantineUntilNs: { none: 0n, over: 1n, on: FOREVER_NS }[quarantine],
      orphaned,
    };
    if (grants !== this.#granted) this.object.maps.addresses.replace(KEY, grants);
    this.#granted = grants;
    this.object.maps.ifaces.set(KEY.ifindex, record);
  }

  /** DROP or PASS. */
  run(program: BpfProgram, frame: Buffer, metadata: Metadata): number {
    return program.testRun({ data: frame, context: contextOf(metadata) }).retval | 0;
  }

  /** Counts since the last call: `malformed drop` and the number of frames. */
  counted(): Map<string, number> {
    const grown = new Map<string, number>();
    this.object.maps.counters.readInto(KEY, this.#now);
    for (const [index, vector] of VECTORS.entries())
      for (const [place, action] of ACTIONS.entries()) {
        const frames = skbsAt(index, place).reduce(
          (sum, at) => sum + (this.#now[at] ?? 0) - (this.#before[at] ?? 0),
          0,
        );
        if (frames > 0) grown.set(`${vector} ${action}`, frames);
      }
    [this.#before, this.#now] = [this.#now, this.#before];
    return grown;
  }

  /** Runs a frame again and again, each time with the vector it was dropped for switched off: the whole set. */
  broken(program: BpfProgram, given: Setting, frame: Buffer, metadata: Metadata): Vector[] {
    const found: Vector[] = [];
    const modes: Record<Vector, 'off' | 'enforce'> = { ...(enforceAll as Record<Vector, 'enforce'>) };
    for (;;) {
      this.program(given, modes);
      const verdict = this.run(program, frame, metadata);
      const [counted, more] = [...this.counted()];
      if (counted === undefined) {
        if (verdict !== PASS) throw new Error(`verdict ${verdict}, and nothing is counted`);
        return found;
      }
      const [key, frames] = counted;
      const vector = VECTORS.find((one) => key === `${one} drop`);
      if (verdict !== DROP || vector === undefined || frames !== 1 || more !== undefined)
        throw new Error(`verdict ${verdict}, counted ${frames} for ${key}${more === undefined ? '' : ` and ${more}`}`);
      found.push(vector);
      modes[vector] = 'off';
    }
  }
}
