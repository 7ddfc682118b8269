// Random policies and operations, by several tasks at once on all processors, compared with the
// model: the outcome of each operation, and every cell of the counters. Every run uses the same
// ones unless BAILIFF_SEED is set. A failure prints the seed; BAILIFF_STRESS_SEED runs it alone.
import { decide, type Operation, type PolicySet } from '@bailiff/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { GENERATED_OPERATIONS } from './harness/generated.ts';
import { LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import {
  type Attempt,
  drawSet,
  lengthOf,
  NOT_ENDED,
  OF_PLAN,
  OPERATION_MS,
  Random,
  Workload,
} from './harness/workload.ts';

const FIRST_SEED = 20_261_124;
const LEAST_ROUNDS = 12;
const { rounds: ROUNDS, repeats: REPEATS } = lengthOf(GENERATED_OPERATIONS, LEAST_ROUNDS);
const EPERM = 1;

/** `acts` executed `stress`. */
const TASK = { chain: ['/bin/stress', '/bin/acts'], cut: false };

/**
 * Predicts the results of one task's repeated list; `free` is the result of each operation without
 * a policy.
 */
function foresee(
  set: PolicySet,
  list: readonly Attempt[],
  free: readonly string[],
  counts: Map<number, number>,
): string[] {
  const results = Array<string>(list.length).fill(NOT_ENDED);
  const standing = new Set<string>();
  // What a directory that could not be removed changes, the first time shows. Each later one is the same.
  for (const times of [1, REPEATS - 1]) {
    if (times === 0) break;
    for (const [i, { words, asks, wonders = [] }] of list.entries()) {
      let refused = standing.has(words);
      const reported = (ask: Operation) => {
        const { outcome, counted } = decide(set, ask, TASK);
        for (const { cell } of counted) counts.set(cell, (counts.get(cell) ?? 0) + times);
        return outcome;
      };
      for (const wonder of wonders) {
        const outcome = reported(wonder);
        if (outcome === 'kill') return results;
        if (outcome === 'pass') break;
      }
      for (const ask of refused ? [] : asks) {
        const outcome = reported(ask);
        if (outcome === 'kill') return results;
        if (outcome === 'pass') continue;
        refused = true;
        if (ask.op === 'rmdir') standing.add(words);
        break;
      }
      results[i] = refused ? String(EPERM) : free[i]!;
    }
  }
  return results;
}

describe('stress', () => {
  const rig = useRig();
  let workload: Workload;
  beforeAll(async () => {
    workload = await Workload.start(rig);
  }, LOAD_TIMEOUT_MS);

  async function round(seed: number): Promise<void> {
    const random = new Random(seed);
    const { pod } = workload;
    const plan = workload.plan(random, seed);
    const free = await workload.carryOutFree(plan);
    expect(free.flat().filter((result) => result === String(EPERM) || result === NOT_ENDED)).toEqual([]);
    const set = workload.put(drawSet(random));
    const results = await workload.carryOut(plan, REPEATS);
    const counts = new Map<number, number>();
    const expected = plan.map((list, task) => foresee(set, list, free[task]!, counts));
    const reported = (of: readonly (readonly string[])[]) =>
      plan.map((list, task) => list.map(({ words }, i) => `${words}: ${of[task]![i]}`));
    const { counterBase, counterCount } = pod.subject();
    const cells = rig.object.maps.counters(counterBase, counterCount);
    expect({ seed, results: reported(results) }).toEqual({ seed, results: reported(expected) });
    expect({ seed, cells: cells.map(Number) }).toEqual({ seed, cells: cells.map((_, cell) => counts.get(cell) ?? 0) });
  }

  it(
    'model - decides each operation and counts each cell as the kernel does, for random policies and concurrent tasks',
    async ({ task }) => {
      const given = process.env['BAILIFF_STRESS_SEED'];
      const first = Number(given ?? process.env['BAILIFF_SEED'] ?? FIRST_SEED);
      const rounds = given === undefined ? ROUNDS : 1;
      for (let seed = first; seed < first + rounds; seed++) await round(seed);
      const operations = rounds * OF_PLAN * REPEATS;
      Object.assign(task.meta, { note: `seeds from ${first}: ${operations} operations under ${rounds} policy sets` });
    },
    LOAD_TIMEOUT_MS + GENERATED_OPERATIONS * OPERATION_MS,
  );
});
