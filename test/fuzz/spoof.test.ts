/**
 * The kernel program against the model: the same frame, the same metadata, the same record, the same verdict and the same
 * set of vectors. A test run cannot set a packet's checksum fields: the program is built to read them from `cb` instead
 * (offload.h), and what reads the kernel's own fields is tried with real frames in the kernel tier.
 *
 * A test run gives the program a frame on the loopback device, so no namespace and no interface is needed; the record
 * stands under its ifindex, 1, in maps of this file's own. The kernel refuses frames without a whole Ethernet, IPv4 or IPv6
 * header (EINVAL): those are sent for real in the kernel tier, and so are packets that are not linear.
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
  openSpoofObject,
  parseAddress,
  parseCidr,
  parseMac,
  type SpoofObject,
  VECTORS,
  type Vector,
  type VectorModes,
} from '@bailiff/bpf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { command } from '../kernel/harness/processes.ts';
import { anyFrame, anyMetadata, OWN, shortestFrame } from './generate.ts';
import { exemptFromPod, exemptToPod, judge, type World } from './model.ts';
import { type Metadata, read } from './packet.ts';

const KEY = { ifindex: 1, generation: 1 } as const;
const DROP = 2;
const PASS = -1;
/** Rows of `cells` in struct counters. */
const VECTOR_SLOTS = 24;
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 40_000);

const NODES = [
  { address: '10.77.8.1', thisNode: true },
  { address: 'fd88::1', thisNode: true },
  { address: '10.77.8.2', thisNode: false },
  { address: 'fd88::2', thisNode: false },
];
const ALLOWED = ['10.77.9.0/24', 'fd99::/16'];
const GRANTS: AddressGrant[] = [
  { cidr: '10.77.0.20', neighbour: true },
  { cidr: '10.78.0.0/16', neighbour: false },
  { cidr: 'fd78::/32', neighbour: false },
  { cidr: 'fd79::1', neighbour: true },
  { cidr: 'fe80::abcd', neighbour: true },
  { cidr: '::/0', neighbour: false },
  { cidr: '0.0.0.0/0', neighbour: true },
];

/** Offsets in struct __sk_buff (include/uapi/linux/bpf.h). */
const CONTEXT = { cb: 48, gsoSize: 176, bytes: 192 } as const;
function contextOf({ checksum, gsoSize }: Metadata): Buffer {
  const context = Buffer.alloc(CONTEXT.bytes);
  if (checksum !== null) {
    context.writeInt32LE(1, CONTEXT.cb);
    context.writeInt32LE(checksum.start, CONTEXT.cb + 4);
    context.writeInt32LE(checksum.place, CONTEXT.cb + 8);
  }
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

interface Setting {
  readonly hasMac: boolean;
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
  readonly grants: AddressGrant[];
  /** A quarantine that is over keeps a packet off the short way and changes nothing else. */
  readonly quarantine: 'none' | 'over' | 'on';
}
const setting: fc.Arbitrary<Setting> = fc.record({
  hasMac: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  hasIpv4: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  hasIpv6: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  grants: fc.oneof(
    { weight: 2, arbitrary: fc.constant<AddressGrant[]>([]) },
    { weight: 1, arbitrary: fc.subarray(GRANTS) },
  ),
  quarantine: fc.constantFrom('none', 'none', 'over', 'on'),
});

function worldOf({ hasMac, hasIpv4, hasIpv6, grants }: Setting): World {
  return {
    mac: hasMac ? big(parseMac(OWN.mac)) : null,
    ipv4: hasIpv4 ? address(OWN.ipv4) : null,
    ipv6: hasIpv6 ? address(OWN.ipv6) : null,
    grants: grants.map(({ cidr, neighbour }) => ({ ...network(cidr), neighbour })),
    nodes: new Map(NODES.map((node) => [address(node.address), node.thisNode ? 'this' : 'other'])),
    tunnelPorts: new Set([4789, 6081]),
    allowed: ALLOWED.map(network),
    probes: [
      { port: 8080, protocol: 6 },
      { port: 8081, protocol: 17 },
    ],
  };
}

const enforceAll = Object.fromEntries(VECTORS.map((vector) => [vector, 'enforce'])) as unknown as VectorModes;

describe('fuzz', () => {
  const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-fuzz-'));
  const built = mkdtempSync(path.join(tmpdir(), 'bailiff-fuzz-object-'));
  const pinDir = path.join(bpffs, 'spoof');
  let object: SpoofObject;
  let ingress: BpfProgram;
  let egress: BpfProgram;

  beforeAll(async () => {
    mountBpffs(bpffs);
    object = openSpoofObject({ pinDir, maxInterfaces: 4, objectPath: await build(built) });
    ingress = BpfProgram.openPinned(path.join(pinDir, 'programs/spoof_ingress'));
    egress = BpfProgram.openPinned(path.join(pinDir, 'programs/spoof_egress'));
    const { maps } = object;
    maps.counters.create(KEY);
    maps.setSettings({ sampleBurst: 8, samplesPerSecond: 1000, unknownMode: 'audit' });
    maps.nodeAddresses.replace(NODES);
    maps.allowedCidrs.replace(ALLOWED);
    maps.tunnelPorts.replace([
      { port: 4789, kind: 'vxlan' },
      { port: 6081, kind: 'geneve' },
    ]);
    maps.probePorts.replace(KEY, [
      { port: 8080, protocol: 'tcp' },
      { port: 8081, protocol: 'udp' },
    ]);
  });
  afterAll(async () => {
    ingress?.close();
    egress?.close();
    object?.close();
    detachAll(pinDir);
    await command('umount', bpffs);
    rmdirSync(bpffs);
    rmSync(built, { recursive: true });
  });

  let granted: readonly AddressGrant[] = [];
  function program(given: Setting, modes: VectorModes): void {
    const { hasMac, hasIpv4, hasIpv6, grants, quarantine } = given;
    const record: IfaceRecord = {
      ...{
        ...KEY,
        slot: 0,
        state: 'programmed' as const,
        modes,
        sampling: null,
        auditUntilNs: 0n,
        hasMore: grants.length > 0,
      },
      mac: hasMac ? OWN.mac : null,
      ipv4: hasIpv4 ? OWN.ipv4 : null,
      ipv6: hasIpv6 ? OWN.ipv6 : null,
      quarantineUntilNs: { none: 0n, over: 1n, on: FOREVER_NS }[quarantine],
    };
    if (grants !== granted) object.maps.addresses.replace(KEY, grants);
    granted = grants;
    object.maps.ifaces.set(KEY.ifindex, record);
  }

  let before = new Float64Array(COUNTER_NUMBERS);
  let now = new Float64Array(COUNTER_NUMBERS);
  const recount = () => object.maps.counters.readInto(KEY, before);
  const NUMBERS_OF_VECTOR = COUNTER_NUMBERS / VECTOR_SLOTS;
  /** What the last run was counted for. */
  function counted(): Vector[] {
    object.maps.counters.readInto(KEY, now);
    const grown = VECTORS.filter((_, index) => {
      const from = index * NUMBERS_OF_VECTOR;
      for (let at = from; at < from + NUMBERS_OF_VECTOR; at += 1) if (now[at] !== before[at]) return true;
      return false;
    });
    [before, now] = [now, before];
    return grown;
  }

  /** Runs a frame again and again, each time with the vector it was dropped for switched off: the whole set. */
  function brokenInKernel(run: BpfProgram, given: Setting, frame: Buffer, metadata: Metadata): Vector[] {
    const context = contextOf(metadata);
    const found: Vector[] = [];
    const modes: Record<Vector, 'off' | 'enforce'> = { ...(enforceAll as Record<Vector, 'enforce'>) };
    for (;;) {
      program(given, modes);
      const verdict = run.testRun({ data: frame, context }).retval | 0;
      const vectors = counted();
      if (vectors.length === 0) {
        expect(verdict, 'nothing counted is a pass').toBe(PASS);
        return found;
      }
      expect(verdict, `counted for ${vectors}`).toBe(DROP);
      expect(vectors, 'one packet, one drop').toHaveLength(1);
      found.push(vectors[0]!);
      modes[vectors[0]!] = 'off';
    }
  }

  const inOrder = (set: Iterable<Vector>): Vector[] => [...set].sort((a, b) => VECTORS.indexOf(a) - VECTORS.indexOf(b));

  /** How often each vector came up, so that a generator gone blind is seen. */
  const tally = new Map<string, number>();
  const note = (vectors: readonly string[]) => {
    for (const vector of vectors.length === 0 ? ['none'] : vectors) tally.set(vector, (tally.get(vector) ?? 0) + 1);
  };

  it('fuzz - from the pod: the same vectors in the same order as the model', () => {
    recount();
    fc.assert(
      fc.property(anyFrame, anyMetadata, setting, (frame, metadata, given) => {
        const world = worldOf(given);
        const packet = read(frame, metadata);
        const broken = judge(world, packet);
        if (given.quarantine === 'on' && !exemptFromPod(world, packet, broken)) broken.add('quarantine-ingress');
        const wanted = inOrder(broken);
        note(wanted);
        expect(brokenInKernel(ingress, given, frame, metadata)).toEqual(wanted);
      }),
      { numRuns: RUNS },
    );
    const never = VECTORS.filter((vector) => !['quarantine-egress', 'unknown-interface'].includes(vector)).filter(
      (vector) => (tally.get(vector) ?? 0) < RUNS / 1000,
    );
    expect(never, 'every vector came up').toEqual([]);
    expect(tally.get('none') ?? 0, 'and legal frames did').toBeGreaterThan(RUNS / 50);
  });

  it('fuzz - to the pod: quarantine passes what the model passes', () => {
    recount();
    let passed = 0;
    fc.assert(
      fc.property(anyFrame, anyMetadata, setting, (frame, metadata, given) => {
        const exempt = given.quarantine !== 'on' || exemptToPod(worldOf(given), read(frame, metadata));
        const wanted: Vector[] = exempt ? [] : ['quarantine-egress'];
        if (given.quarantine === 'on' && exempt) passed++;
        expect(brokenInKernel(egress, given, frame, metadata)).toEqual(wanted);
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
    expect(passed, 'some frames were exempt').toBeGreaterThan(RUNS / 1000);
  });

  it.each([0x0800, 0x86dd, 0x0806, 0x8100])('fuzz - what a test run of type %i refuses is known', (type) => {
    program({ hasMac: true, hasIpv4: true, hasIpv6: true, grants: [], quarantine: 'none' }, enforceAll);
    const shortest = shortestFrame(type);
    for (let length = 0; length < shortest + 10; length++) {
      const data = Buffer.alloc(length);
      if (length >= 14) data.writeUInt16BE(type, 12);
      const run = () => ingress.testRun({ data });
      if (length < shortest) expect(run).toThrow(/EINVAL/);
      else expect(run).not.toThrow();
    }
  });

  it('fuzz - the losses stay what they were, but for a full ring', () => {
    expect(object.maps.losses()).toMatchObject({ 'no-counter': 0n, 'no-iface': 0n });
  });
});
