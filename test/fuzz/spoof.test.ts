/**
 * The kernel program against the model: the same frame, the same metadata, the same record, the same verdict and the same
 * set of vectors.
 *
 * The kernel refuses to test frames without a whole Ethernet, IPv4 or IPv6 header (EINVAL): those are sent for real in the
 * kernel tier, and so are packets that are not linear.
 */
import { VECTORS, type Vector } from '@bailiff/bpf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { anyFrame, anyMetadata, shortestFrame } from './generate.ts';
import { enforceAll, FuzzKernel, inOrder, setting, worldOf } from './kernel.ts';
import { exemptFromPod, exemptToPod, judge, provokes } from './model.ts';
import { read } from './packet.ts';

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 20_000);

describe('fuzz', () => {
  let kernel: FuzzKernel;
  beforeAll(async () => {
    kernel = await FuzzKernel.open();
  });
  afterAll(() => kernel?.[Symbol.asyncDispose]());

  /** Number of frames for each vector, so that a generator that misses one is noticed. */
  const tally = new Map<string, number>();
  const note = (vectors: readonly string[]) => {
    for (const vector of vectors.length === 0 ? ['none'] : vectors) tally.set(vector, (tally.get(vector) ?? 0) + 1);
  };

  it('fuzz - from the pod: the same vectors in the same order as the model', () => {
    fc.assert(
      fc.property(anyFrame, anyMetadata, setting, (frame, metadata, given) => {
        const world = worldOf(given);
        const packet = read(frame, metadata);
        const broken = judge(world, packet);
        if (given.quarantine === 'on' && !exemptFromPod(world, packet, broken)) broken.add('quarantine-ingress');
        const wanted = inOrder(broken);
        note(wanted);
        expect(kernel.broken(kernel.ingress, given, frame, metadata)).toEqual(wanted);
      }),
      { numRuns: RUNS },
    );
    const never = VECTORS.filter(
      (vector) => !['quarantine-egress', 'provocation', 'unknown-interface', 'guard-bypass'].includes(vector),
    ).filter((vector) => (tally.get(vector) ?? 0) < RUNS / 1000);
    expect(never, 'every vector came up').toEqual([]);
    expect(tally.get('none') ?? 0, 'and legal frames did').toBeGreaterThan(RUNS / 50);
  });

  it('fuzz - to the pod: the same frames as in the model pass quarantine, and the same are provocations', () => {
    let passed = 0;
    let provoking = 0;
    fc.assert(
      fc.property(anyFrame, anyMetadata, setting, (frame, metadata, given) => {
        const [world, packet] = [worldOf(given), read(frame, metadata, { toPod: true })];
        const exempt = given.quarantine !== 'on' || exemptToPod(world, packet);
        const wanted: Vector[] = exempt ? [] : ['quarantine-egress'];
        if (provokes(world, packet, enforceAll)) wanted.push('provocation');
        if (given.quarantine === 'on' && exempt) passed++;
        if (wanted.includes('provocation')) provoking++;
        expect(kernel.broken(kernel.egress, given, frame, metadata)).toEqual(wanted);
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
    expect(passed, 'some frames were exempt').toBeGreaterThan(RUNS / 1000);
    expect(provoking, 'and some would be answered by a violation').toBeGreaterThan(RUNS / 100);
  });

  it.each([0x0800, 0x86dd, 0x0806, 0x8100])(
    'fuzz - every frame that a test run of type %i rejects is expected',
    (type) => {
      kernel.program({ hasMac: true, hasIpv4: true, hasIpv6: true, grants: [], quarantine: 'none' }, enforceAll);
      const shortest = shortestFrame(type);
      for (let length = 0; length < shortest + 10; length++) {
        const data = Buffer.alloc(length);
        if (length >= 14) data.writeUInt16BE(type, 12);
        const run = () => kernel.ingress.testRun({ data });
        if (length < shortest) expect(run).toThrow(/EINVAL/);
        else expect(run).not.toThrow();
      }
    },
  );

  it('fuzz - loss counters stay unchanged, except for a full ring', () => {
    expect(kernel.object.maps.losses()).toMatchObject({ 'no-counter': 0n, 'no-iface': 0n });
  });
});
