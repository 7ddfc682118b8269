// Instructions of each hook's programs, counted by the machine's clock. A change that makes a hook
// more expensive, or its cost grow with the number of rules, fails here. Bounds are the measured
// values plus a tenth.
import { describe, expect, it } from 'vitest';
import { type CostPlan, type CostReport, type Operation, UNCACHED, type Where } from '../bench/lsm/cost.ts';
import { inside } from '../bench/lsm/machine.ts';
import { whyNoVm } from './machine.ts';

/**
 * Hook → maximum instructions: without a decision (no pod, no policy), and with 1,000 rules for the
 * decided operation. The hooks of exec read the mount namespace before they know whether the task
 * belongs to a pod. task_alloc compares the share of the pod and adds a state.
 */
const BOUNDS: [operation: Operation, hook: string, noPod: number, noPolicy: number, judged: number][] = [
  ['open', 'file_open', 600, 305, 305],
  ['exec', 'bprm_check_security', 1_840, 570, 3_380],
  ['exec', 'bprm_committed_creds', 1_080, 1_910, 1_910],
  ['exec', 'mmap_file', 490, 215, 405],
  ['exec', 'task_alloc', 325, 1_765, 1_765],
  ['connect', 'socket_connect', 865, 415, 925],
];
/** A linear list would be 10. */
const FLAT = 1.3;
/** Reads no rules. What adding a state costs depends on the bucket of the map. */
const WITHOUT_RULES = 'task_alloc';

/**
 * Maximum instructions of file_open under the ready-made policies: names of 8 and 36 characters, at
 * depths 4 and 12. The kernel calls the hook twice for an open on overlayfs, once for the layer, so a
 * deciding call costs twice as much. From the cache, neither policies nor names cost anything. Without
 * it, rules about other operations cost nothing.
 */
const CACHED = { open: 305, 'open long': 305, 'open deep': 305, 'open deep long': 305 };
const READY_MADE: [where: Where, bounds: Partial<Record<Operation, number>>][] = [
  ['escape-guard', CACHED],
  ['all ready-made policies', CACHED],
  [UNCACHED, { open: 2_545, 'open long': 2_680, 'open deep': 3_150, 'open deep long': 3_150 }],
];

const PLAN: CostPlan = {
  where: ['no pod', 'no policy', 100, 1000, ...READY_MADE.map(([where]) => where)],
  // Loading the other programs takes the verifier longer than the whole measurement.
  only: [...BOUNDS.map(([, hook]) => hook), 'd_instantiate'],
  rounds: 0,
  hookRounds: 5,
  counts: { open: 40, exec: 3, connect: 40 },
};

describe('instructions of a hook', () => {
  it('within their bounds, and flat from 100 to 1,000 rules', async (context) => {
    const why = whyNoVm();
    if (why !== null) context.skip(why);
    const { hooks } = await inside<CostReport>('cost', PLAN, { countInstructions: true });
    const cost = (where: Where, operation: Operation, hook: string) =>
      hooks.find((one) => one.where === where && one.operation === operation)?.hooks[hook]?.ns ?? Number.NaN;
    const wrong = BOUNDS.flatMap(([operation, hook, noPod, noPolicy, judged]) => {
      const [few, many] = [cost(100, operation, hook), cost(1000, operation, hook)];
      const reported: [what: string, measured: number, most: number][] = [
        ['no pod', cost('no pod', operation, hook), noPod],
        ['no policy', cost('no policy', operation, hook), noPolicy],
        ['1,000 rules', many, judged],
        ['1,000 rules as against 100', many, hook === WITHOUT_RULES ? judged : few * FLAT],
      ];
      return reported
        .filter(([, measured, most]) => !(measured > 0 && measured <= most))
        .map(([what, measured, most]) => `${hook} on ${operation}, ${what}: ${measured} instead of ${most}`);
    });
    const opens = READY_MADE.flatMap(([where, bounds]) =>
      Object.entries(bounds).map(([operation, most]) => {
        const measured = cost(where, operation as Operation, 'file_open');
        return { where, operation, measured, most, within: measured > 0 && measured <= most };
      }),
    );
    expect(opens.filter(({ within }) => !within)).toEqual([]);
    expect(wrong).toEqual([]);
  }, 600_000);
});
