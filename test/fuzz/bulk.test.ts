/**
 * Many frames against the model, faster: each generated frame is bent in several ways, a round of them runs under one record
 * with modes of all kinds, and the counters are read once a round. Each frame's verdict is compared; which vectors were
 * counted, and how often, is compared for the round. BAILIFF_FUZZ_BULK and BAILIFF_SEED make it a long run of other frames.
 */
import { MODES, type Mode, VECTORS, type Vector, type VectorModes, vectorModes } from '@bailiff/bpf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { anyFrame, anyMetadata, shortestFrame } from './generate.ts';
import { DROP, FuzzKernel, inOrder, PASS, type Setting, setting, worldOf } from './kernel.ts';
import { exemptFromPod, exemptToPod, judge, provokes, type World } from './model.ts';
import { type Metadata, read } from './packet.ts';

const FRAMES = Number(process.env['BAILIFF_FUZZ_BULK'] ?? 60_000);
const GENERATED = 40;
/** Of each generated frame, itself included. */
const BENT = 25;

interface Sent {
  readonly frame: Buffer;
  readonly metadata: Metadata;
}

/** Numbers below a bound, the same for the same seed (xorshift). */
function numbers(seed: number): (bound: number) => number {
  let state = seed | 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

/** A frame with one to three bytes changed, or cut, or with metadata that differ by little. */
function bend({ frame, metadata }: Sent, below: (bound: number) => number): Sent {
  const bent = Buffer.from(frame);
  for (let changes = below(4); changes > 0; changes -= 1) bent[below(Math.min(bent.length, 120))] = below(256);
  const cut = below(8) === 0 ? bent.subarray(0, Math.max(14, below(bent.length + 1))) : bent;
  const kept = cut.length < shortestFrame(cut.readUInt16BE(12)) ? frame : cut;
  const { checksum } = metadata;
  if (checksum === null || below(3) > 0) return { frame: kept, metadata };
  const near = { start: checksum.start + 2 * (below(5) - 2), place: Math.max(0, checksum.place + 2 * (below(3) - 1)) };
  return { frame: kept, metadata: { ...metadata, checksum: near } };
}

/** Expected counters for a set of vectors, and the verdict. */
function settle(broken: Iterable<Vector>, modes: VectorModes): { verdict: number; counted: string[] } {
  const ordered = inOrder(broken);
  const enforced = ordered.findIndex((vector) => modes[vector] === 'enforce');
  const audited = ordered.findIndex((vector) => modes[vector] === 'audit');
  const counted: string[] = [];
  if (audited !== -1 && (enforced === -1 || audited < enforced)) counted.push(`${ordered[audited]} audit`);
  if (enforced !== -1) counted.push(`${ordered[enforced]} drop`);
  return { verdict: enforced === -1 ? PASS : DROP, counted };
}

function brokenBy(
  way: 'ingress' | 'egress',
  given: Setting,
  world: World,
  modes: VectorModes,
  { frame, metadata }: Sent,
): Iterable<Vector> {
  const packet = read(frame, metadata, { toPod: way === 'egress' });
  const isQuarantined = given.quarantine === 'on';
  if (way === 'egress') {
    const ofReceived: Vector[] = isQuarantined && !exemptToPod(world, packet) ? ['quarantine-egress'] : [];
    return provokes(world, packet, modes) ? [...ofReceived, 'provocation'] : ofReceived;
  }
  const broken = judge(world, packet);
  if (isQuarantined && !exemptFromPod(world, packet, broken)) broken.add('quarantine-ingress');
  return broken;
}

const anyModes = fc
  .array(fc.constantFrom(...MODES, 'enforce' as const), { minLength: VECTORS.length, maxLength: VECTORS.length })
  .map((list) => vectorModes((_, at) => list[at] as Mode));

describe('fuzz in bulk', () => {
  let kernel: FuzzKernel;
  beforeAll(async () => {
    kernel = await FuzzKernel.open();
  });
  afterAll(() => kernel?.[Symbol.asyncDispose]());

  function round(seed: number): Map<string, number> {
    const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number) => fc.sample(arbitrary, { numRuns, seed });
    const [[given, modes]] = sample(fc.tuple(setting, anyModes), 1) as [[Setting, VectorModes]];
    const below = numbers(seed);
    const way = below(4) === 0 ? 'egress' : 'ingress';
    const world = worldOf(given);
    const wanted = new Map<string, number>();
    kernel.program(given, modes);
    for (const [frame, metadata] of sample(fc.tuple(anyFrame, anyMetadata), GENERATED)) {
      for (let bent = 0; bent < BENT; bent += 1) {
        const sent = bent === 0 ? { frame, metadata } : bend({ frame, metadata }, below);
        const { verdict, counted } = settle(brokenBy(way, given, world, modes, sent), modes);
        for (const key of counted) wanted.set(key, (wanted.get(key) ?? 0) + 1);
        if (kernel.run(kernel[way], sent.frame, sent.metadata) !== verdict)
          throw new Error(`round ${seed}: not ${verdict}: ${JSON.stringify({ way, given, modes, ...sent })}`);
      }
    }
    expect(kernel.counted(), `counted in round ${seed}`).toEqual(wanted);
    return wanted;
  }

  it('fuzz - verdicts and counters of mutated frames match the model', () => {
    const first = fc.readConfigureGlobal().seed ?? 1;
    const total = new Map<string, number>();
    let frames = 0;
    for (; frames < FRAMES; frames += GENERATED * BENT) {
      for (const [key, count] of round(first + frames)) total.set(key, (total.get(key) ?? 0) + count);
    }
    // The last two need the egress program, one of them quarantine, and are not in every short run.
    const rare: readonly Vector[] = ['unknown-interface', 'guard-bypass', 'quarantine-egress', 'provocation'];
    const never = VECTORS.filter((vector) => !rare.includes(vector) && !total.has(`${vector} drop`));
    expect(never, 'every vector dropped frames').toEqual([]);
    if (process.env['BAILIFF_FUZZ_BULK'] !== undefined)
      process.stdout.write(`${JSON.stringify({ seed: first, frames, ...Object.fromEntries(total) })}\n`);
  }, 86_400_000);
});
