/**
 * Inside the virtual machine: what an open, an exec and a connect cost in a container, and each hook that they pass, under
 * policies of so many rules. With an instruction a nanosecond (MachinePlan.countInstructions) the times are instructions.
 *
 * Invariants: two containers with the same image, one of no pod and one of a pod, whose policy is replaced. Whole operations are timed
 * with the kernel's own accounting of programs off, hooks are read from that accounting. Medians of rounds: instructions repeat, but
 * an interrupt counts as the program's that it came upon, ten thousand at once, in the few calls of a round.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BpfLink, BpfProgram, RUNTIME_EXTRA_CELLS } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { compileSet, encodeSet } from '@bailiff/runtime';
import { setOf } from '../../../libs/runtime/src/testing.ts';
import { withHooksOnly } from '../../lsm/harness/doctored.ts';
import { type Loaded, loadOwn } from '../../lsm/harness/loaded.ts';
import { Container, podCgroup, removeCgroup } from '../../lsm/harness/rig.ts';
import { compileProgram } from '../../vm/compile.ts';
import { median } from '../report.ts';
import { attachEmptyHooks } from './empty-hooks.ts';

export const OPERATIONS = ['open', 'exec', 'connect'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Where the operations are done. A number: in a pod under a policy with so many rules about each of files, programs and addresses. */
export type Where = 'no programs' | 'empty programs' | 'no pod' | 'no policy' | number;

export interface CostPlan {
  readonly where: readonly Where[];
  /** LSM hooks that have their program; absent: all. What a program costs by itself does not depend on others. */
  readonly only?: readonly string[];
  /** Timed rounds; 0: only the hooks are measured. */
  readonly rounds: number;
  /** Rounds in which hooks are counted: of each hook the middle one is told, which an interrupt within the program did not lengthen. */
  readonly hookRounds: number;
  /** Operations a round. */
  readonly counts: Readonly<Record<Operation, number>>;
}

export interface HookCost {
  /** Of a round, at least. */
  readonly calls: number;
  /** A call, in the middle round; the kernel's bookkeeping around the program is not in it. */
  readonly ns: number;
}

export interface CostReport {
  readonly operations: readonly { where: Where; operation: Operation; ns: number[] }[];
  /** Only hooks that the operation passes at least once each time. */
  readonly hooks: readonly { where: Where; operation: Operation; hooks: Record<string, HookCost> }[];
}

const CGROUPS = '/sys/fs/cgroup';
const STATS = '/proc/sys/kernel/bpf_stats_enabled';
const POD = 'c0de'.repeat(8);
/** Of one policy. */
const MAX_RULES = 256;

type Rules = NonNullable<RuntimePolicyInput['rules']>;

/** Names beside what is opened and run, so that every look-up goes as far as it can. */
function policies(rules: number): RuntimePolicyInput[] {
  const all: Rules = Array.from({ length: rules }, (_, i): Rules => {
    const address = `127.${1 + (i >> 8)}.${i & 255}.1`;
    return [
      { name: `file-${i}`, action: 'block', file: { paths: [`/data/app/config/secret-${i}`], operations: ['read'] } },
      { name: `program-${i}`, action: 'block', execute: { paths: [`/bin/tool-${i}`] } },
      { name: `peer-${i}`, action: 'block', network: { cidrs: [`${address}/32`], operations: ['connect'] } },
    ];
  }).flat();
  const inputs: RuntimePolicyInput[] = [];
  for (let at = 0; at < all.length; at += MAX_RULES) inputs.push({ rules: all.slice(at, at + MAX_RULES) });
  return inputs;
}

/** Puts a policy in force on the one pod. */
function enforce(loaded: Loaded, rules: number): void {
  const { maps } = loaded.object;
  const set = setOf(...policies(rules));
  const number = loaded.nextSet();
  maps.writeSet(encodeSet(compileSet(set, number, maps.settings().hashKey)));
  const counterCount = set.rules.length + RUNTIME_EXTRA_CELLS;
  maps.zeroCounters(0, counterCount);
  const cells = { set: number, counterBase: 0, counterCount, generation: number, bucket: 0 };
  maps.pods.set(POD, { ...cells, hasContainers: false, auditUntilNs: 0n });
}

interface Hook {
  readonly name: string;
  readonly programId: number;
}

function hooksOf(loaded: Loaded): Hook[] {
  const dir = path.join(loaded.pinDir, 'runtime/links');
  return readdirSync(dir).map((name) => {
    using link = BpfLink.openPinned(path.join(dir, name));
    return { name: name.replace(/^handle_/, ''), programId: link.info().programId };
  });
}

/** What each hook was called, and took, in one round. */
type Round = ReadonlyMap<string, { calls: number; ns: number }>;

class Bench {
  readonly #container: Container;
  readonly #plan: CostPlan;
  readonly operations: CostReport['operations'][number][] = [];
  readonly hooks: CostReport['hooks'][number][] = [];

  constructor(container: Container, plan: CostPlan) {
    this.#container = container;
    this.#plan = plan;
  }

  /** Does the operation in so many rounds, and gives of each what it took. */
  async #rounds(operation: Operation, rounds: number, around: <T>(round: () => Promise<T>) => Promise<T>) {
    const running = this.#container.start(['/bin/cost', operation, `${this.#plan.counts[operation]}`]);
    await running.line('ready');
    for (let round = 1; round <= rounds; round++)
      await around(() => {
        running.go();
        return running.until((lines) => lines.length > round);
      });
    running.child.stdin?.end();
    assert.equal(await running.exit(), 0, running.lines.join(' | '));
    const took = running.lines.map((line) => /^(\d+) (\d+)$/.exec(line)).filter((found) => found !== null);
    assert.equal(took.length, rounds, running.lines.join(' | '));
    return took.map(([, ns, count]) => Number(ns) / Number(count));
  }

  async time(where: Where): Promise<void> {
    for (const operation of this.#plan.rounds === 0 ? [] : OPERATIONS)
      this.operations.push({
        ...{ where, operation },
        ns: await this.#rounds(operation, this.#plan.rounds, (round) => round()),
      });
  }

  async count(where: Where, hooks: readonly Hook[]): Promise<void> {
    writeFileSync(STATS, '1');
    const own = since(read(hooks), read(hooks));
    for (const operation of OPERATIONS) {
      const rounds: Round[] = [];
      await this.#rounds(operation, this.#plan.hookRounds, async (round) => {
        const before = read(hooks);
        const result = await round();
        rounds.push(since(before, read(hooks)));
        return result;
      });
      this.hooks.push({ where, operation, hooks: middle(rounds, this.#plan.counts[operation], own) });
    }
    writeFileSync(STATS, '0');
  }
}

function read(hooks: readonly Hook[]): Round {
  return new Map(
    hooks.map(({ name, programId }) => {
      using program = BpfProgram.byId(programId);
      return [name, { calls: program.info.runs, ns: program.info.runNs }];
    }),
  );
}

function since(before: Round, after: Round): Round {
  return new Map(
    [...after].map(([name, { calls, ns }]) => {
      const known = before.get(name) ?? { calls: 0, ns: 0 };
      return [name, { calls: calls - known.calls, ns: ns - known.ns }];
    }),
  );
}

/** Of each hook that is called `atLeast` times in every round, and not by our `own` reading each program, what a call costs in the middle one. */
function middle(rounds: readonly Round[], atLeast: number, own: Round): Record<string, HookCost> {
  const costs: Record<string, HookCost> = {};
  for (const name of rounds[0]?.keys() ?? []) {
    if ((own.get(name)?.calls ?? 0) >= own.size) continue;
    const found = rounds.flatMap((round) => round.get(name) ?? []);
    const calls = Math.min(...found.map((round) => round.calls));
    if (calls >= atLeast) costs[name] = { calls, ns: median(found.map((round) => round.ns / round.calls)) };
  }
  return costs;
}

function withFiles(container: Container): Container {
  container.install(
    compileProgram(path.join(import.meta.dirname, '../../lsm/programs/cost.c'), { flags: ['-static'] }),
    '/bin/cost',
  );
  mkdirSync(container.image('/data/app/config'), { recursive: true });
  writeFileSync(container.image('/data/app/config/settings'), 'x');
  return container;
}

/** Runs the plan; `no programs` and `empty programs` come first if they are asked for. */
export async function measureCost(plan: CostPlan): Promise<CostReport> {
  const [outside, pod] = [path.join(CGROUPS, 'outside'), path.join(CGROUPS, podCgroup(POD, 'cgroupfs'))];
  mkdirSync(outside);
  const own = withFiles(new Container(outside, 0));
  const free = new Bench(own, plan);
  if (plan.where.includes('no programs')) await free.time('no programs');
  if (plan.where.includes('empty programs')) {
    using empty = attachEmptyHooks();
    await free.time('empty programs');
    await free.count('empty programs', empty.hooks);
  }
  const loaded = loadOwn('cost', plan.only ? { objectPath: withHooksOnly(plan.only) } : {});
  mkdirSync(pod, { recursive: true });
  const judged = withFiles(new Container(pod, 0));
  const bench = new Bench(judged, plan);
  const hooks = hooksOf(loaded);
  try {
    for (const where of plan.where) {
      if (where === 'no programs' || where === 'empty programs') continue;
      const place = where === 'no pod' ? free : bench;
      if (typeof where === 'number') enforce(loaded, where);
      await place.time(where);
      await place.count(where, hooks);
    }
  } finally {
    for (const container of [own, judged]) container[Symbol.dispose]();
    loaded.release();
    for (const dir of [outside, pod]) removeCgroup(dir);
  }
  return {
    operations: [...free.operations, ...bench.operations],
    hooks: [...free.hooks, ...bench.hooks],
  };
}
