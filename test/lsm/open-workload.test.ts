// A generated workload of opens by tasks of two pods in one mount namespace, while names, mounts, policies,
// cgroups and the programs change at random (programs/open-churn.c): the outcome of each open against
// a model of the names, and the counters against the number of refused opens. Three controls leave
// out one check of the cache of opens each, and show differences; open-cache.test.ts has an attack for each check.
// Every run uses the same changes unless BAILIFF_SEED is set. The controls load other programs, so they
// run only with BAILIFF_LSM_OPERATIONS.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimeSubject } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import type { PolicySet } from '@bailiff/runtime';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { compileProgram } from '../vm/compile.ts';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './harness/doctored.ts';
import { GENERATED_OPERATIONS } from './harness/generated.ts';
import { loadOwn, type OwnLoaded } from './harness/loaded.ts';
import { leaveOut, type OpenCheck, openCacheObject } from './harness/open-cache-object.ts';
import { type Container, countsAt, LOAD_TIMEOUT_MS, type Pod, prepareSubject, Rig, Running } from './harness/rig.ts';

const IS_ASKED_FOR = process.env['BAILIFF_LSM_OPERATIONS'] !== undefined;
const SEED = Number(process.env['BAILIFF_SEED'] ?? 20_261_201);
/** The control ends at its first difference, usually within a few hundred. */
const CONTROL_OPERATIONS = 100_000;
/** More than an operation takes under emulation on a busy machine. */
const OPERATION_MS = 10;
const HOOKS = [...EXEC_AND_OPEN_HOOKS, 'd_instantiate'];
/** As in open-churn.c. */
const LOWER_FILES = 16;
/** Above the pods of the rig, outermost first. */
const CGROUPS = ['', 'kubepods', 'kubepods/burstable'].map((dir) => path.join('/sys/fs/cgroup', dir));

const program = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/open-churn.c'), { flags: ['-static'] });

type Rule = NonNullable<RuntimePolicyInput['rules']>[number];
const below = (name: string, operation: 'read' | 'write', dir: string): Rule => ({
  name,
  action: 'block',
  file: { directories: [`/${dir}`, `/dev/shm/${dir}`], recursive: true, operations: [operation] },
});
/** By their number in open-churn.c: `sealed` cannot be read and `pub` not be written, and the reverse. */
const POLICIES: readonly RuntimePolicyInput[] = [
  {
    onUnresolvable: 'block',
    rules: [
      below('read', 'read', 'sealed'),
      below('write', 'write', 'pub'),
      { name: 'hidden', action: 'block', file: { suffixes: ['.hidden'], operations: ['read'] } },
    ],
  },
  { onUnresolvable: 'block', rules: [below('read', 'read', 'pub'), below('write', 'write', 'sealed')] },
];

/** A pod whose policy changes without a loss of counts: each policy has cells of its own. */
class Switching {
  readonly pod: Pod;
  readonly container: Container;
  readonly #loaded: OwnLoaded;
  readonly #prepared: readonly { set: PolicySet; index: number; subject: RuntimeSubject }[];

  constructor(rig: Rig, loaded: OwnLoaded) {
    this.#loaded = loaded;
    this.pod = rig.pod();
    this.container = this.pod.container();
    this.container.install(program(), '/bin/open-churn');
    this.#prepared = POLICIES.map((policy) => {
      const [set, index] = [setOf(policy), loaded.nextIndex()];
      return { set, index, subject: prepareSubject(loaded, index, set) };
    });
    this.use(0);
  }

  use(policy: number): void {
    this.#loaded.object.maps.pods.set(this.pod.uid, this.#prepared[policy]!.subject);
  }

  async serve(...words: string[]): Promise<Running> {
    const running = this.container.start(['/bin/open-churn', 'serve', ...words]);
    await running.line('ready');
    return running;
  }

  counted(): number {
    const counts = this.#prepared.flatMap(({ set, index }) => Object.values(countsAt(this.#loaded.object, index, set)));
    return counts.reduce((sum, count) => sum + count, 0);
  }
}

interface Outcome {
  readonly operations: number;
  /** Opens that no change overlapped, whose outcome was compared. */
  readonly judged: number;
  readonly refused: readonly number[];
  readonly counted: readonly number[];
  readonly wrong: number;
  /** Changes by kind. */
  readonly changes: Readonly<Record<string, number>>;
  /** Other lines: the first open of each pod that differs. */
  readonly messages: readonly string[];
}

/** `opens <n> judged <n> refused <n> <n> wrong <n> changes <kind>=<n>…` */
function outcomeOf(line: string, pods: readonly Switching[], messages: readonly string[]): Outcome {
  const [, opens, judged, first, second, wrong, kinds = ''] =
    /^opens (\d+) judged (\d+) refused (\d+) (\d+) wrong (\d+) changes (.+)$/.exec(line) ?? [];
  const changes: Record<string, number> = Object.fromEntries(
    kinds.split(' ').map((kind) => [kind.split('=')[0], Number(kind.split('=')[1])]),
  );
  return {
    operations: Object.values(changes).reduce((sum, count) => sum + count, Number(opens)),
    judged: Number(judged),
    refused: [Number(first), Number(second)],
    counted: pods.map((pod) => pod.counted()),
    wrong: Number(wrong),
    changes,
    messages,
  };
}

function restart(loaded: OwnLoaded, without: readonly OpenCheck[]): void {
  loaded.reopen();
  leaveOut(loaded.pinDir, ...without);
}

/** @param without checks of the cache that are left out */
async function churn(loaded: OwnLoaded, operations: number, ...without: OpenCheck[]): Promise<Outcome> {
  const rig = new Rig(loaded);
  const pods = [new Switching(rig, loaded), new Switching(rig, loaded)] as const;
  const { container } = pods[0];
  for (const dir of ['pub', 'sealed']) {
    mkdirSync(container.image(dir));
    const names = ['w', ...Array.from({ length: LOWER_FILES }, (_, i) => `c-${i}`)];
    for (const name of names) writeFileSync(container.image(path.join(dir, name)), '');
  }
  for (const dir of CGROUPS) writeFileSync(path.join(dir, 'cgroup.subtree_control'), '+memory');
  const first = await pods[0].serve('0');
  const pid = `${first.child.pid}`;
  await pods[1].serve('1', pid);
  const cgroups = [container, pods[0].pod.container(), pods[1].container].map(({ cgroup }) => cgroup);
  const changer = Running.start(program(), [
    ...[
      'change',
      pid,
      `${operations}`,
      `${SEED}`,
      container.image(''),
      path.join(pods[0].pod.cgroup, 'memory.reclaim'),
    ],
    ...[...cgroups, CGROUPS[0]!].map((dir) => path.join(dir, 'cgroup.procs')),
  ]);
  const messages: string[] = [];
  try {
    for (let seen = 0; ; seen++) {
      await changer.until((lines) => lines.length > seen);
      const line = changer.lines[seen]!;
      const [, server, policy] = /^policy (\d) (\d)$/.exec(line) ?? [];
      if (line.startsWith('opens ')) return outcomeOf(line, pods, messages);
      if (server !== undefined) pods[Number(server)]!.use(Number(policy));
      else if (line === 'restart') restart(loaded, without);
      else messages.push(line);
      if (messages.at(-1) !== line) changer.go();
    }
  } finally {
    changer.child.kill('SIGKILL');
    // The programs stay: other outcomes are of the same.
    for (const { pod } of pods) rig.end(pod);
  }
}

describe('a generated workload of opens', () => {
  let loaded: OwnLoaded;
  beforeAll(() => {
    loaded = loadOwn('open-workload', { objectPath: withHooksOnly(HOOKS) });
  }, LOAD_TIMEOUT_MS);
  afterAll(() => loaded?.release());

  it(
    'model - each open has the outcome of its name at that moment, and is counted exactly',
    async ({ task }) => {
      const outcome = await churn(loaded, GENERATED_OPERATIONS);
      const { operations, judged, refused, counted, wrong, changes, messages } = outcome;
      expect({ wrong, messages, counted }).toEqual({ wrong: 0, messages: [], counted: refused });
      expect(operations).toBeGreaterThanOrEqual(GENERATED_OPERATIONS);
      expect(judged).toBeGreaterThan(0);
      expect(Object.entries(changes).filter(([, count]) => count === 0)).toEqual([]);
      const opens = `${judged} opens compared, ${refused.join(' and ')} refused and counted`;
      Object.assign(task.meta, { note: `seed ${SEED}: ${operations} operations, ${opens}` });
    },
    LOAD_TIMEOUT_MS + GENERATED_OPERATIONS * OPERATION_MS,
  );
});

describe('the same workload without one check of the cache', () => {
  let loaded: OwnLoaded;
  beforeAll(() => {
    if (!IS_ASKED_FOR) return;
    loaded = loadOwn('open-control', { objectPath: withHooksOnly(HOOKS, openCacheObject()) });
  }, LOAD_TIMEOUT_MS);
  beforeEach((context) => {
    if (!IS_ASKED_FOR) context.skip('optional: set BAILIFF_LSM_OPERATIONS, for example to 20000');
    if (loaded.object.cacheProblem !== null) context.skip(loaded.object.cacheProblem);
  });
  afterAll(() => loaded?.release());

  const checks: readonly (readonly OpenCheck[])[] = [['renames', 'mounts'], ['epoch'], ['container']];
  it.each(checks.map((without) => [without.join(' and '), without] as const))(
    'control - it finds a difference without %s',
    async (_, without) => {
      leaveOut(loaded.pinDir, ...without);
      const { wrong } = await churn(loaded, CONTROL_OPERATIONS, ...without);
      expect(wrong).toBeGreaterThan(0);
    },
    LOAD_TIMEOUT_MS + CONTROL_OPERATIONS * OPERATION_MS,
  );
});
