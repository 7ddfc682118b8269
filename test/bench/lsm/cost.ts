/**
 * Runs in the virtual machine: cost of open, exec and connect in a container, and of each hook, under
 * policies with different numbers of rules and under the ready-made policies. With MachinePlan.countInstructions, nanoseconds are instructions.
 *
 * Two containers have the same image: one outside any pod, one in a pod whose policy is replaced. Whole
 * operations are CPU time of the program that does them, without the kernel's accounting of programs;
 * hooks are read from it. A hook's cost is that of its cheapest round: an interrupt adds about ten
 * thousand instructions to the interrupted program, and an allocator that fetches pages adds hundreds,
 * in most rounds of some runs.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BpfLink, BpfProgram, RUNTIME_EXTRA_CELLS } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { compileSet, encodeSet, loadPolicyFile, mergeSelected, type PolicySet } from '@bailiff/runtime';
import { setOf } from '../../../libs/runtime/src/testing.ts';
import { withHooksOnly } from '../../lsm/harness/doctored.ts';
import { type Loaded, loadOwn } from '../../lsm/harness/loaded.ts';
import { Container, podCgroup, removeCgroup } from '../../lsm/harness/rig.ts';
import { compileProgram } from '../../vm/compile.ts';
import { attachEmptyHooks } from './empty-hooks.ts';

/** Opens are of names with 8 and 36 characters, at depths 4 and 12. */
export const OPERATIONS = ['open', 'open long', 'open deep', 'open deep long', 'exec', 'connect'] as const;
export type Operation = (typeof OPERATIONS)[number];

const [SHORT, LONG] = ['settings', 'application-settings-production.yaml'];
const [SHALLOW_DIR, DEEP_DIR] = ['/data/app/config', `/data/app/config${'/of/part'.repeat(4)}`];
const FILES: Partial<Record<Operation, string>> = {
  open: `${SHALLOW_DIR}/${SHORT}`,
  'open long': `${SHALLOW_DIR}/${LONG}`,
  'open deep': `${DEEP_DIR}/${SHORT}`,
  'open deep long': `${DEEP_DIR}/${LONG}`,
};

/**
 * Place of the operations. A number: a pod with so many rules each for files, programs and addresses.
 * The last ones: a pod under the ready-made policy, or under all of them, also without the cache of
 * opens, as on a kernel that lacks its symbols.
 */
export type Where = 'no programs' | 'empty programs' | 'no pod' | 'no policy' | number | ReadyMade;
type ReadyMade = 'escape-guard' | 'all ready-made policies' | typeof UNCACHED;
export const UNCACHED = 'all ready-made policies, opens not cached';

/** System call of an operation. */
export type Kind = 'open' | 'exec' | 'connect';
const kindOf = (operation: Operation): Kind => operation.split(' ', 1)[0] as Kind;

export interface CostPlan {
  readonly where: readonly Where[];
  /** LSM hooks with their program; default all. The cost of a program does not depend on others. */
  readonly only?: readonly string[];
  /** Timed rounds; 0 = measure only the hooks. */
  readonly rounds: number;
  /** Rounds for the hooks. */
  readonly hookRounds: number;
  /** Operations per round. */
  readonly counts: Readonly<Record<Kind, number>>;
  /** Default all. */
  readonly operations?: readonly Operation[];
}

export interface HookCost {
  /** Minimum per round. */
  readonly calls: number;
  /** Per call, in the cheapest round, without the kernel's bookkeeping around the program. */
  readonly ns: number;
}

export interface CostReport {
  readonly operations: readonly { where: Where; operation: Operation; ns: number[] }[];
  /** Only hooks that every operation calls. */
  readonly hooks: readonly { where: Where; operation: Operation; hooks: Record<string, HookCost> }[];
}

const CGROUPS = '/sys/fs/cgroup';
const STATS = '/proc/sys/kernel/bpf_stats_enabled';
const POD = 'c0de'.repeat(8);
/** Rules of one policy. */
const MAX_RULES = 256;

type Rules = NonNullable<RuntimePolicyInput['rules']>;

/** Names similar to the opened and executed ones, so that every look-up goes as deep as possible. */
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

function readyMade(where: ReadyMade): PolicySet {
  const dir = path.join(import.meta.dirname, '../../../policies');
  const files = readdirSync(dir).filter((file) => file.endsWith('.yaml'));
  const wanted = files.filter((file) => where !== 'escape-guard' || file === 'escape-guard.yaml');
  return mergeSelected(wanted.flatMap((file) => loadPolicyFile(readFileSync(path.join(dir, file), 'utf8'), file)));
}

/** Puts policies in force on the one pod. */
function enforce(loaded: Loaded, where: number | ReadyMade): void {
  const { maps } = loaded.object;
  const set = typeof where === 'number' ? setOf(...policies(where)) : readyMade(where);
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

/** Calls and time of each hook in one round. */
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

  get #operations(): readonly Operation[] {
    return this.#plan.operations ?? OPERATIONS;
  }

  /** Runs the operation in rounds. @returns the time per operation of each round */
  async #rounds(operation: Operation, rounds: number, around: <T>(round: () => Promise<T>) => Promise<T>) {
    const kind = kindOf(operation);
    const words = ['/bin/cost', kind, `${this.#plan.counts[kind]}`, ...(FILES[operation] ? [FILES[operation]] : [])];
    const running = this.#container.start(words);
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
    for (const operation of this.#plan.rounds === 0 ? [] : this.#operations)
      this.operations.push({
        where,
        operation,
        ns: await this.#rounds(operation, this.#plan.rounds, (round) => round()),
      });
  }

  async count(where: Where, hooks: readonly Hook[]): Promise<void> {
    writeFileSync(STATS, '1');
    const own = since(read(hooks), read(hooks));
    for (const operation of this.#operations) {
      const rounds: Round[] = [];
      await this.#rounds(operation, this.#plan.hookRounds, async (round) => {
        const before = read(hooks);
        const result = await round();
        rounds.push(since(before, read(hooks)));
        return result;
      });
      this.hooks.push({ where, operation, hooks: cheapest(rounds, this.#plan.counts[kindOf(operation)], own) });
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

/** Cost in the cheapest round of each hook with `atLeast` calls in all, but not of those that reading (`own`) calls. */
function cheapest(rounds: readonly Round[], atLeast: number, own: Round): Record<string, HookCost> {
  const costs: Record<string, HookCost> = {};
  for (const name of rounds[0]?.keys() ?? []) {
    if ((own.get(name)?.calls ?? 0) >= own.size) continue;
    const found = rounds.flatMap((round) => round.get(name) ?? []);
    const calls = Math.min(...found.map((round) => round.calls));
    if (calls >= atLeast) costs[name] = { calls, ns: Math.min(...found.map((round) => round.ns / round.calls)) };
  }
  return costs;
}

function withFiles(container: Container): Container {
  container.install(
    compileProgram(path.join(import.meta.dirname, '../../lsm/programs/cost.c'), { flags: ['-static'] }),
    '/bin/cost',
  );
  mkdirSync(container.image(DEEP_DIR), { recursive: true });
  for (const file of Object.values(FILES)) writeFileSync(container.image(file), 'x');
  return container;
}

/** Runs the plan; `no programs` and `empty programs` come first. */
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
      if (where !== 'no pod' && where !== 'no policy') enforce(loaded, where);
      const { maps } = loaded.object;
      const locks = maps.cacheLocks();
      if (where === UNCACHED) maps.setCacheLocks(null);
      await place.time(where);
      await place.count(where, hooks);
      maps.setCacheLocks(locks);
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
