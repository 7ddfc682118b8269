// What `policy simulate` predicts from the record of `policy learn --record`, against the kernel: a
// generated workload is recorded, judged under a second policy, and run again with that policy enforced.
// Each operation is refused as predicted, and each cell of the record has the exact number. Every run uses the
// same ones unless BAILIFF_SEED is set.
import { POSTURE_CLASSES, type RuntimePolicyInput } from '@bailiff/policy';
import {
  decide,
  type Judgement,
  judgeCounted,
  judgePosture,
  type Operation,
  type PolicySet,
  postureOf,
  valueName,
} from '@bailiff/runtime';
import { sampleOperation } from '@bailiff/schemas/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { recordingRules } from '../../apps/cli/src/policies/learn/recording.ts';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { GENERATED_OPERATIONS } from './harness/generated.ts';
import { LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { type Attempt, drawSet, lengthOf, OF_PLAN, OPERATION_MS, Random, Workload } from './harness/workload.ts';

const LEAST_ROUNDS = 4;
const { rounds: ROUNDS, repeats: REPEATS } = lengthOf(GENERATED_OPERATIONS / 2, LEAST_ROUNDS);
const FIRST_SEED = 20_261_201;
const EPERM = '1';
const PROGRAM = '/bin/stress';
/** `acts` executed `stress`. */
const TASK = { chain: [PROGRAM, '/bin/acts'], cut: false };

type Recorded = Parameters<typeof recordingRules>[0][number]['operation'];

/** As a sample of the operation names it. */
function recordedAs(ask: Operation): Recorded {
  const none = { subject: '', address: '', port: 0, protocol: 0, comm: 'stress', executable: PROGRAM };
  const operation = sampleOperation({ ...none, operation: ask.op });
  if (ask.kind === 'address') return { ...operation, address: ask.address, port: ask.port, protocol: ask.protocol };
  if (ask.kind === 'value') return { ...operation, subject: valueName(ask.op, ask.value) };
  if (ask.kind === 'abstract') return { ...operation, subject: `@${ask.name}` };
  if (ask.kind === 'path') return { ...operation, subject: ask.path };
  throw new Error(`a workload has no such operation: ${ask.kind}`);
}

const asksOf = ({ asks, wonders = [] }: Attempt): readonly Operation[] => [...wonders, ...asks];

/** A policy that refuses, and ends no task. */
const enforced = (input: RuntimePolicyInput, ancestors: boolean): RuntimePolicyInput => ({
  ...input,
  mode: 'enforce',
  rules: input.rules?.map((rule) => ({
    ...rule,
    action: rule.action === 'kill' ? 'block' : rule.action,
    ...(rule.fromSource ? { fromSource: rule.fromSource.map((one) => ({ ...one, children: ancestors })) } : {}),
  })) as RuntimePolicyInput['rules'],
});

const rig = useRig();
let workload: Workload;
beforeAll(async () => {
  workload = await Workload.start(rig);
}, LOAD_TIMEOUT_MS);

/** What the record says of each attempt under the policies `tried`, checked with the counts of the kernel. */
async function predicted(plan: readonly (readonly Attempt[])[], tried: PolicySet): Promise<Judgement[][][]> {
  const { pod } = workload;
  const learned = plan
    .flat()
    .flatMap(asksOf)
    .map((ask) => ({ operation: recordedAs(ask), times: 1 }));
  const unique = [...new Map(learned.map((one) => [JSON.stringify(one), one])).values()];
  const recording = workload.put(
    setOf({
      mode: 'audit',
      defaultPosture: Object.fromEntries(POSTURE_CLASSES.map((name) => [name, 'audit'])),
      rules: recordingRules(unique),
    }),
  );
  await workload.carryOut(plan, REPEATS);
  const wanted = new Map<number, number>();
  const judgements = plan.map((list) =>
    list.map((attempt) =>
      asksOf(attempt).map((ask): Judgement => {
        const [counted] = decide(recording, ask, TASK).counted;
        if (!counted) return { outcome: 'undecided', because: 'it was not counted' };
        wanted.set(counted.cell, (wanted.get(counted.cell) ?? 0) + REPEATS);
        const rule = recording.rules[counted.cell];
        return rule ? judgeCounted([tried], rule) : judgePosture([tried], postureOf(ask.op)!);
      }),
    ),
  );
  const { counterBase, counterCount } = pod.subject();
  const cells = rig.object.maps.counters(counterBase, counterCount).map(Number);
  expect(cells).toEqual(cells.map((_, cell) => wanted.get(cell) ?? 0));
  return judgements;
}

interface Compared {
  operations: number;
  refused: number;
  undecided: Record<string, number>;
  /** Predicted and real. */
  wrong: string[];
}

/** Records, predicts and enforces one plan. */
async function round(seed: number, ancestors: boolean, into: Compared): Promise<void> {
  const random = new Random(seed);
  const plan = workload.plan(random, seed);
  const tried = drawSet(random, (input) => enforced(input, ancestors));
  const judgements = await predicted(plan, tried);
  workload.put(tried);
  const results = await workload.carryOut(plan, REPEATS);
  for (const [task, list] of plan.entries())
    for (const [i, { words, wonders }] of list.entries()) {
      // Which of these the kernel asks depends on their outcome.
      const judged = judgements[task]![i]!.slice(wonders?.length ?? 0);
      const refused = results[task]![i] === EPERM;
      into.operations += REPEATS;
      into.refused += refused ? REPEATS : 0;
      const denied = judged.some(({ outcome }) => outcome === 'denied');
      const open = judged.find((one) => one.outcome === 'undecided');
      if (!denied && open?.outcome === 'undecided')
        into.undecided[open.because] = (into.undecided[open.because] ?? 0) + REPEATS;
      else if (denied !== refused) into.wrong.push(`seed ${seed}: ${words}: ${JSON.stringify(judged)}, ${refused}`);
    }
}

async function compared(ancestors: boolean): Promise<Compared> {
  const into: Compared = { operations: 0, refused: 0, undecided: {}, wrong: [] };
  // A directory that a policy kept from being removed stays, so no seed is used twice.
  const first = Number(process.env['BAILIFF_SEED'] ?? FIRST_SEED) + (ancestors ? ROUNDS : 0);
  for (let seed = first; seed < first + ROUNDS; seed++) await round(seed, ancestors, into);
  return into;
}

describe('predictions from a record', () => {
  const timeout = LOAD_TIMEOUT_MS + GENERATED_OPERATIONS * OPERATION_MS;

  it(
    'each operation is decided, and refused exactly if that was predicted',
    async () => {
      const { operations, refused, undecided, wrong } = await compared(false);
      expect({ undecided, wrong }).toEqual({ undecided: {}, wrong: [] });
      expect(operations).toBe(ROUNDS * OF_PLAN * REPEATS);
      expect(refused).toBeGreaterThan(operations / 20);
      expect(refused).toBeLessThan(operations);
    },
    timeout,
  );

  it(
    'under rules about the descendants of programs, what the ancestors decide stays undecided, and nothing else',
    async () => {
      const { undecided, wrong } = await compared(true);
      expect(wrong).toEqual([]);
      for (const because of Object.keys(undecided))
        expect(because).toMatch(/ancestors of its program|without a sample/);
    },
    timeout,
  );
});
