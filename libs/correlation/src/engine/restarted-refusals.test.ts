// A violation that an engine refused, and whose dead letter is stored, stays refused by an engine that
// starts later and knows the newest pod lists only, whenever the first one was killed.
import type { PodRef } from '@bailiff/schemas';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { UNDECIDED_MICROS } from '../attribution/attribution.ts';
import { PodInventory } from '../attribution/pod-inventory.ts';
import { PriorRefusals } from '../attribution/prior-refusals.ts';
import {
  makeFrame,
  makeViolation,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  snapshotJson,
  T0,
} from '../testing.ts';
import type { Refusal } from './engine.ts';

/** Lists of node-a and node-b change to these. Pods beyond them never exist. */
const PODS = Array.from({ length: 8 }, (_, index) => podRef(`pod-${index}`));
const rules = ruleHistoryOf({
  any: { type: 'event_count', timespan: '1m', condition: { gte: 1 }, level: 'low' },
});

type Step =
  | { what: 'frame'; afterMs: number; pods: number[] }
  | { what: 'list'; afterMs: number; node: 'node-a' | 'node-b'; pods: number[] };

const afterMs = fc.integer({ min: 0, max: 9_000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    what: fc.constant('frame' as const),
    afterMs,
    pods: fc.array(fc.nat(PODS.length - 1), { minLength: 1, maxLength: 6 }),
  }),
  fc.record({
    what: fc.constant('list' as const),
    afterMs,
    node: fc.constantFrom('node-a' as const, 'node-b' as const),
    pods: fc.uniqueArray(fc.nat(PODS.length - 1), { maxLength: 3 }),
  }),
);

/** The steps with their times. */
const timed = (steps: readonly Step[]) => {
  let atMicros = T0;
  return steps.map((one, index) => {
    atMicros += one.afterMs * 1_000 + 1;
    return { ...one, atMicros, sequence: index + 1 };
  });
};
type Timed = ReturnType<typeof timed>;

const frameOf = (pods: readonly number[], sequence: number) =>
  makeFrame(
    pods.map((pod, index) => makeViolation({ pod: PODS[pod] as PodRef, counterEpoch: `${sequence}/${index}` })),
    { frameSequence: sequence },
  );

/** Runs steps. @param known steps whose lists are known: the first list of a later start hides earlier ones */
function run(steps: Timed, known: (index: number) => boolean, priorRefusals?: PriorRefusals) {
  const inventory = new PodInventory();
  const { engine, refusals, verdicts } = recordingEngine({
    rules,
    inventory,
    ...(priorRefusals ? { priorRefusals } : {}),
  });
  const last = new Map<string, number>();
  const apply = (one: Timed[number]) => {
    if (one.what !== 'list') return;
    const { node, atMicros: timestampMicros, sequence: revision } = one;
    const json = snapshotJson(
      node,
      one.pods.map((pod) => PODS[pod] as PodRef),
      revision,
    );
    inventory.apply({ node, timestampMicros, revision, previousRevision: last.get(node) ?? 0, json });
  };
  // A later start reads the newest lists before the frames.
  steps.forEach((one, index) => {
    if (priorRefusals && known(index)) apply(one);
    if (one.what === 'list') last.set(one.node, one.sequence);
  });
  last.clear();
  for (const one of steps) {
    engine.advance(one.atMicros);
    if (one.what === 'list') {
      if (!priorRefusals) apply(one);
      last.set(one.node, one.sequence);
    } else {
      const { sequence, atMicros: timestampMicros } = one;
      engine.processFrame({ sequence, timestampMicros, node: 'node-a' }, frameOf(one.pods, sequence));
    }
  }
  return { engine, refusals, verdicts };
}

const namesOf = (refusals: readonly Refusal[]) =>
  refusals.flatMap(({ sequence, indexes }) => indexes.map((index) => `${sequence}/${index}`));

/** Dead letters as the bus keeps them: the first one of a frame and reason. */
function stored(refusals: readonly Refusal[], untilMicros: number): PriorRefusals {
  const prior = new PriorRefusals(untilMicros);
  for (const { node, sequence, reason, indexes } of refusals) {
    if (!prior.has(sequence, reason))
      prior.add({ node, sequence, reason, detail: `[${indexes.join(',')}] x`, writtenMicros: 0 });
  }
  return prior;
}

/** Refused violations whose letter is stored, and that a start after a kill does not refuse. */
function forgotten(plan: readonly Step[], letters: (refusals: readonly Refusal[]) => readonly Refusal[]): string[] {
  const steps = timed(plan);
  const lost: string[] = [];
  for (let kill = 1; kill <= steps.length; kill += 1) {
    const before = steps.slice(0, kill);
    const endMicros = (before.at(-1) as Timed[number]).atMicros;
    const first = run(before, () => true);
    first.engine.advance(endMicros + 2 * UNDECIDED_MICROS);
    const newest = new Map(before.map((one, index) => [one.what === 'list' ? one.node : '', index]));
    const isNewest = (index: number) => [...newest.values()].includes(index);
    for (let durable = 0; durable <= first.refusals.length; durable += 1) {
      const written = letters(first.refusals.slice(0, durable));
      const second = run(before, isNewest, stored(written, endMicros));
      second.engine.advance(endMicros + 2 * UNDECIDED_MICROS);
      const still = new Set(namesOf(second.refusals));
      lost.push(...namesOf(first.refusals.slice(0, durable)).filter((name) => !still.has(name)));
    }
  }
  return lost;
}

const plans = fc.array(step, { minLength: 2, maxLength: 8 });
/** Each violation by itself, as if released one by one. */
const split = (refusals: readonly Refusal[]) =>
  refusals.flatMap((one) => one.indexes.map((index) => ({ ...one, indexes: [index] })));

it('refusals - a start after a kill at any step refuses again what a stored dead letter refused', () => {
  let refused = 0;
  fc.assert(
    fc.property(plans, (plan) => {
      refused += run(timed(plan), () => true).refusals.length;
      expect(forgotten(plan, (refusals) => refusals)).toEqual([]);
    }),
    { numRuns: 150 },
  );
  expect(refused, 'refusals in the plans').toBeGreaterThan(50);
});

it('control - with a letter for one violation of a frame, others count after the start', () => {
  const ghosts: Step[] = [
    { what: 'list', afterMs: 0, node: 'node-a', pods: [0] },
    { what: 'list', afterMs: 0, node: 'node-a', pods: [1] },
    { what: 'frame', afterMs: 2_000, pods: [5, 6, 7] },
  ];
  expect(forgotten(ghosts, (refusals) => refusals)).toEqual([]);
  expect(forgotten(ghosts, split).length).toBeGreaterThan(0);
  // The verdict about a pod that never existed.
  const steps = timed(ghosts);
  const first = run(steps, () => true);
  first.engine.advance(T0 + 60 * SECOND);
  const endMicros = (steps.at(-1) as Timed[number]).atMicros;
  const start = (refusals: readonly Refusal[]) =>
    run(steps, (index) => index === 1, stored(refusals, endMicros)).verdicts.map(({ pod }) => pod?.name);
  expect([start(first.refusals), start(split(first.refusals))]).toEqual([[], ['pod-6', 'pod-7']]);
});

it('refusals - a frame has one refusal for each reason, after its last pending violation; the others count', () => {
  const steps = timed([
    { what: 'list', afterMs: 0, node: 'node-a', pods: [0] },
    { what: 'list', afterMs: 0, node: 'node-b', pods: [1] },
    // Its own pod, a pod of node-b, two that do not exist, and one that is listed a second later.
    { what: 'frame', afterMs: 2_000, pods: [0, 1, 5, 6, 2] },
    { what: 'list', afterMs: 1_000, node: 'node-a', pods: [0, 2] },
  ]);
  const { engine, refusals } = run(steps, () => true);
  expect(refusals).toEqual([]);
  engine.advance(T0 + 60 * SECOND);
  expect(refusals.map(({ reason, indexes }) => [reason, indexes])).toEqual([
    ['foreign-pod', [1]],
    ['unproven-pod', [2, 3]],
  ]);
  expect(engine.counted).toMatchObject({ violations: 2, refused: 2 });
});
