/**
 * Inside the virtual machine: what an open, an exec and a connect cost in a container, and each hook that they pass, under
 * policies of so many rules. With an instruction a nanosecond (MachinePlan.countInstructions) the times are instructions.
 *
 * Invariants: two containers with the same image, one of no pod and one of a pod, whose policy is replaced. Whole operations are timed
 * with the kernel's own accounting of programs off, hooks are read from that accounting.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BpfLink, BpfProgram, RUNTIME_EXTRA_CELLS } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { compileSet, encodeSet } from '@bailiff/runtime';
import { setOf } from '../../../libs/runtime/src/testing.ts';
import { type Loaded, loadOwn } from '../../lsm/harness/loaded.ts';
import { Container, podCgroup, type Running, removeCgroup } from '../../lsm/harness/rig.ts';
import { compileProgram } from '../../vm/compile.ts';

export const OPERATIONS = ['open', 'exec', 'connect'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Where the operations are done. A number: in a pod under a policy with so many rules about each of files, programs and addresses. */
export type Where = 'no programs' | 'no pod' | 'no policy' | number;

export interface CostPlan {
  readonly where: readonly Where[];
  /** Timed rounds; 0: only the hooks are measured. */
  readonly rounds: number;
  readonly counts: Readonly<Record<Operation, number>>;
}

export interface HookCost {
  readonly calls: number;
  /** A call; the kernel's bookkeeping around the program is not in it. */
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

function runs(loaded: Loaded): Map<string, { runs: number; runNs: number }> {
  const dir = path.join(loaded.pinDir, 'runtime/links');
  return new Map(
    readdirSync(dir).map((name) => {
      using link = BpfLink.openPinned(path.join(dir, name));
      using program = BpfProgram.byId(link.info().programId);
      return [name.replace(/^handle_/, ''), program.info];
    }),
  );
}

class Bench {
  readonly #container: Container;
  readonly #plan: CostPlan;
  readonly operations: CostReport['operations'][number][] = [];
  readonly hooks: CostReport['hooks'][number][] = [];

  constructor(container: Container, plan: CostPlan) {
    this.#container = container;
    this.#plan = plan;
  }

  async #start(operation: Operation, rounds: number): Promise<Running> {
    const running = this.#container.start(['/bin/cost', operation, `${this.#plan.counts[operation]}`, `${rounds}`]);
    await running.line('ready');
    return running;
  }

  async #end(running: Running): Promise<void> {
    running.go();
    assert.equal(await running.exit(), 0, running.lines.join(' | '));
  }

  async time(where: Where): Promise<void> {
    for (const operation of this.#plan.rounds === 0 ? [] : OPERATIONS) {
      const running = await this.#start(operation, this.#plan.rounds);
      running.go();
      await running.line('done');
      await this.#end(running);
      const rounds = running.lines.map((line) => /^(\d+) (\d+)$/.exec(line)).filter((found) => found !== null);
      assert.equal(rounds.length, this.#plan.rounds);
      this.operations.push({ where, operation, ns: rounds.map(([, ns, count]) => Number(ns) / Number(count)) });
    }
  }

  async count(where: Where, loaded: Loaded): Promise<void> {
    writeFileSync(STATS, '1');
    for (const operation of OPERATIONS) {
      const running = await this.#start(operation, 1);
      const before = runs(loaded);
      running.go();
      await running.line('done');
      const after = runs(loaded);
      await this.#end(running);
      const hooks: Record<string, HookCost> = {};
      for (const [name, { runs: calls, runNs }] of after) {
        const known = before.get(name);
        const more = calls - (known?.runs ?? 0);
        if (more >= this.#plan.counts[operation])
          hooks[name] = { calls: more, ns: (runNs - (known?.runNs ?? 0)) / more };
      }
      this.hooks.push({ where, operation, hooks });
    }
    writeFileSync(STATS, '0');
  }
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

/** Runs the plan; `no programs` comes first if it is asked for. */
export async function measureCost(plan: CostPlan): Promise<CostReport> {
  const [outside, pod] = [path.join(CGROUPS, 'outside'), path.join(CGROUPS, podCgroup(POD, 'cgroupfs'))];
  mkdirSync(outside);
  const own = withFiles(new Container(outside, 0));
  const free = new Bench(own, plan);
  if (plan.where.includes('no programs')) await free.time('no programs');
  const loaded = loadOwn('cost');
  mkdirSync(pod, { recursive: true });
  const judged = withFiles(new Container(pod, 0));
  const bench = new Bench(judged, plan);
  try {
    for (const where of plan.where) {
      if (where === 'no programs') continue;
      const place = where === 'no pod' ? free : bench;
      if (typeof where === 'number') enforce(loaded, where);
      await place.time(where);
      await place.count(where, loaded);
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
