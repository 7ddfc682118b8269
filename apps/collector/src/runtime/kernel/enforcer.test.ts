// Sets' life and exact counting over maps in memory: what is flipped, when what was before is read and freed, and what a later
// process takes over.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimeSubject } from '@bailiff/bpf';
import type { OperationSample, PodIdentity, ViolationFrame } from '@bailiff/schemas';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Account } from '../counting/account.ts';
import { AccountStore } from '../counting/account-store.ts';
import type { AckedCells } from '../counting/acked-cells.ts';
import { RuntimeFlusher } from '../publishing/account-adapter.ts';
import { desiredSubjects } from '../subjects/desired.ts';
import { Policies } from '../subjects/policies.ts';
import { denying, type MemoryMaps, memoryAcked, memoryMaps, podIdentity, uidOf } from '../testing.ts';
import { takeOver } from './adoption.ts';
import { Enforcer } from './enforcer.ts';
import { KernelSets } from './sets.ts';

const KEY = 'runtime.cluster._.guard';

/** What outlives a process: maps, acknowledgements, files, the bus. */
class World {
  readonly maps: MemoryMaps;
  readonly acked: AckedCells;
  readonly dir = mkdtempSync(path.join(tmpdir(), 'bailiff-accounts-'));
  readonly problems: string[] = [];
  /** Maximum of each epoch, and those that had their last word. */
  readonly bus = new Map<string, number>();
  readonly finals = new Set<string>();
  largestFrame = 0;
  /** As they were told: subject, count, suppressed. */
  readonly operations: [string, number, number][] = [];
  isBusThere = true;
  /** Answers of the bus get lost. */
  isDeaf = false;
  generation = 0;

  constructor(cells = 200) {
    this.maps = memoryMaps(cells);
    this.acked = memoryAcked(cells);
  }

  take({ violations }: ViolationFrame): void {
    this.largestFrame = Math.max(this.largestFrame, violations.length);
    for (const { counterEpoch, cumulativePackets, final, operation, count, suppressed } of violations) {
      if (operation) this.operations.push([operation.subject, count, suppressed]);
      this.bus.set(counterEpoch, Math.max(cumulativePackets, this.bus.get(counterEpoch) ?? 0));
      if (final) this.finals.add(counterEpoch);
    }
  }

  told(vector: string): number {
    return [...this.bus].reduce((sum, [epoch, n]) => sum + (epoch.includes(`/${vector}/`) ? n : 0), 0);
  }
}

/** One process over a world. Time passes by `later`. */
class Process {
  readonly policies = new Policies();
  readonly accounts = new Map<number, Account>();
  readonly sets: KernelSets;
  readonly enforcer: Enforcer;
  readonly flusher: RuntimeFlusher;
  readonly #store: AccountStore;
  #due: (() => void)[] = [];

  constructor(world: World, version = '1', pins = 'pins') {
    const { maps, acked } = world;
    const onProblem = ({ reason }: { reason: string }) => void world.problems.push(reason);
    this.#store = new AccountStore(world.dir, { onProblem });
    const allocate = () => ++world.generation;
    this.sets = new KernelSets(maps, allocate);
    this.flusher = new RuntimeFlusher({
      ...{ nodeName: 'n', bootId: 'boot', version, accounts: this.accounts, flushIntervalMs: 0 },
      nextSequence: allocate,
      clock: { nowMicros: () => 1, nowMs: () => 1 },
      bootNs: () => 0n,
      sink: {
        hasCapacity: () => world.isBusThere,
        whenCapacity: () => new Promise(() => undefined),
        publish: (frame) => {
          world.take(structuredClone(frame));
          return world.isDeaf ? new Promise(() => undefined) : Promise.resolve();
        },
      },
      read: ({ stored }) => Float64Array.from(maps.counters(stored.base, stored.count), Number),
      onAcked: (account, cells) => {
        if (account.counts !== null) return;
        for (let i = 0; i < cells.length; i += 2)
          acked.write(account.stored.base + (cells[i] as number), account.book.acked()[cells[i] as number] as number);
      },
      onSettled: ({ stored }) => {
        this.accounts.delete(stored.generation);
        this.#store.remove(stored);
      },
      onError: (error) => void world.problems.push(error.message),
    });
    this.enforcer = new Enforcer({
      ...{ maps, acked, sets: this.sets, store: this.#store, accounts: this.accounts, pins, version },
      factsOf: ({ set }) => this.policies.factsOf(set as NonNullable<typeof set>),
      allocateGeneration: allocate,
      onBefore: (account) => this.flusher.flush([account]),
      onNew: () => undefined,
      onRetired: () => undefined,
      after: (_ms, action) => void this.#due.push(action),
    });
    takeOver({
      ...{ maps, acked, pins, version, store: this.#store, sets: this.sets, enforcer: this.enforcer },
      accounts: this.accounts,
      onProblem: (reason) => void world.problems.push(reason),
    });
  }

  /** @returns why not, by subject */
  apply(...pods: PodIdentity[]): (string | null)[] {
    const policies = this.policies;
    const { subjects } = desiredSubjects({ pods, policies, containersOf: () => [], auditUntilNs: () => 0n });
    return subjects.map((subject) => this.enforcer.apply(subject));
  }

  /** Grace periods end. */
  later(): void {
    for (const action of this.#due.splice(0)) action();
  }

  async flush(): Promise<void> {
    for (let i = 0; i < 4; i += 1) {
      this.flusher.sweep();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('enforcer', () => {
  let world: World;
  const pod = podIdentity('a');
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => rmSync(world.dir, { recursive: true, force: true }));
  const subject = (of = pod) => world.maps.pods.get(uidOf(of)) as RuntimeSubject;
  const files = () => readdirSync(world.dir).sort();

  it('a change - the new set is whole before the flip, the old one stays for a while, then its cells and set are free', async () => {
    const one = new Process(world);
    one.policies.take(KEY, denying({ first: '/bin/one' }));
    expect(one.apply(pod)).toEqual([null]);
    const before = subject();
    expect(world.maps.sets).toEqual(new Set([before.set]));
    world.maps.count(before, 0, 3);
    one.policies.take(KEY, denying({ second: '/bin/two' }));
    one.apply(pod);
    const after = subject();
    expect(after.set).not.toBe(before.set);
    expect(after.generation).not.toBe(before.generation);
    expect(world.maps.sets).toEqual(new Set([before.set, after.set]));
    // A program that was running counts into the old cell after the flip.
    world.maps.count(before, 0, 2);
    one.later();
    await one.flush();
    expect(world.maps.sets).toEqual(new Set([after.set]));
    expect([world.told('guard/first'), one.accounts.size, one.enforcer.cellsUsed]).toEqual([5, 1, after.counterCount]);
    expect(files()).toEqual([`account-${after.generation}.json`, expect.stringMatching(/^set-/)]);
  });

  it('the same again, and pods that share policies - nothing is written', () => {
    const one = new Process(world);
    const other = podIdentity('b');
    one.policies.take(KEY, denying({ first: '/bin/one' }));
    one.apply(pod, other);
    const before = [subject(), subject(other)];
    expect(before[0]?.set).toBe(before[1]?.set);
    expect(before[0]?.counterBase).not.toBe(before[1]?.counterBase);
    one.apply(pod, other);
    expect([subject(), subject(other)]).toEqual(before);
    one.policies.take(KEY, null);
    one.apply(pod, other);
    expect([subject().set, subject(other).set]).toEqual([0, 0]);
    expect(subject().generation).toBeGreaterThan(0);
  });

  it.each([
    { what: 'no cells', spoil: () => {}, rules: 400, reason: 'counters in a row' },
    { what: 'no room for the set', spoil: () => (world.maps.maxSets = 1), rules: 2, reason: 'is full' },
  ])(
    'refused - $what: the reason is told, what was in force stays, and nothing is lost of it',
    ({ spoil, rules, reason }) => {
      const one = new Process(world);
      one.policies.take(KEY, denying({ first: '/bin/one' }));
      one.apply(pod);
      const before = subject();
      const used = one.enforcer.cellsUsed;
      spoil();
      const many = Object.fromEntries(Array.from({ length: Math.min(rules, 200) }, (_, i) => [`r${i}`, `/bin/${i}`]));
      one.policies.take(KEY, denying(many));
      expect(one.apply(pod)).toEqual([expect.stringContaining(reason)]);
      expect(subject()).toEqual(before);
      expect([one.enforcer.cellsUsed, one.accounts.size, world.maps.sets.size]).toEqual([used, 1, 1]);
      one.policies.take(KEY, denying({ first: '/bin/one' }));
      expect(one.apply(pod)).toEqual([null]);
    },
  );

  it('a restart - what is in force is recognised by its digest and not touched; a later build writes its own', () => {
    const one = new Process(world);
    one.policies.take(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    const before = subject();
    const two = new Process(world);
    two.policies.take(KEY, denying({ first: '/bin/one' }));
    expect(two.apply(pod)).toEqual([null]);
    expect(subject()).toEqual(before);
    const three = new Process(world, '2');
    three.policies.take(KEY, denying({ first: '/bin/one' }));
    three.apply(pod);
    expect(subject().set).not.toBe(before.set);
    three.later();
    expect(world.maps.sets).toEqual(new Set([subject().set]));
  });

  it('several operations of one rule between two flushes - each in a violation of its own, in full frames too, and the count exact', async () => {
    const one = new Process(world);
    one.policies.take(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    const [account] = [...one.accounts.values()] as [Account];
    const sample = (subject: string) => ({ operation: 'exec', subject, observedAt: 1 }) as OperationSample;
    for (const subject of ['/a', '/b', '/a', '/c']) one.flusher.take(account, 0, sample(subject));
    world.maps.count(subject(), 0, 9);
    await one.flush();
    expect(world.operations).toEqual([
      ['/b', 1, 0],
      ['/a', 2, 0],
      ['/c', 1, 5],
    ]);
    expect(world.told('guard/first')).toBe(9);
    one.flusher.take(account, 0, sample('/a'));
    world.maps.count(subject(), 0, 1);
    await one.flush();
    expect(world.operations.at(-1)).toEqual(['/a', 1, 0]);
    expect(world.told('guard/first')).toBe(10);
  });

  it('killed between flip and last reading, with the bus away - the next process reads and tells it', async () => {
    const one = new Process(world);
    one.policies.take(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    world.maps.count(subject(), 0, 4);
    world.isBusThere = false;
    await one.flush();
    one.policies.take(KEY, denying({ second: '/bin/two' }));
    one.apply(pod);
    world.maps.count(subject(), 0, 7);
    const two = new Process(world);
    two.later();
    // Read and kept on disk; killed again before the bus came back.
    const three = new Process(world);
    world.isBusThere = true;
    await three.flush();
    expect([world.told('guard/first'), world.told('guard/second'), world.problems]).toEqual([4, 7, []]);
    expect(three.accounts.size).toBe(1);
  });

  it('more cells than one turn takes - all are told, in frames that are not too large, each with its last word', async () => {
    rmSync(world.dir, { recursive: true, force: true });
    world = new World(1000);
    const one = new Process(world);
    const rules = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`r${i}`, `/bin/${i}`]));
    one.policies.take(KEY, denying(rules));
    one.apply(pod);
    for (let cell = 0; cell < 200; cell += 1) world.maps.count(subject(), cell, cell + 1);
    one.policies.take(KEY, null);
    one.apply(pod);
    one.later();
    await one.flush();
    expect([world.bus.size, [...world.bus.values()].reduce((a, b) => a + b, 0)]).toEqual([200, (200 * 201) / 2]);
    expect([world.finals.size, world.largestFrame, one.accounts.size, files()]).toEqual([200, 64, 0, []]);
    rmSync(world.dir, { recursive: true, force: true });
  });

  it('maps that were made anew - counts of the old ones are given up loudly, subjects begin again', () => {
    const one = new Process(world);
    one.policies.take(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    world.maps.pods.delete(uidOf(pod));
    const two = new Process(world, '1', 'other pins');
    expect(world.problems).toEqual([expect.stringContaining('went with the maps')]);
    expect([two.accounts.size, world.maps.sets.size, files()]).toEqual([0, 0, []]);
  });

  it('any run of breaches, edits, lost answers and kills - the bus ends with the exact sum of each rule', async () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ count: fc.integer({ min: 1, max: 9 }), cell: fc.nat(1) }) },
      { weight: 2, arbitrary: fc.constant({ do: 'edit' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'later' as const }) },
      { weight: 3, arbitrary: fc.constant({ do: 'flush' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'kill' as const }) },
      { weight: 1, arbitrary: fc.constantFrom({ do: 'deaf' as const }, { do: 'away' as const }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        rmSync(world.dir, { recursive: true, force: true });
        world = new World();
        let edition = 0;
        const sums = [0, 0];
        const begin = () => {
          const process = new Process(world);
          process.policies.take(KEY, denying({ a: `/bin/a${edition}`, b: '/bin/b' }));
          process.apply(pod);
          return process;
        };
        let process = begin();
        for (const one of steps) {
          if ('count' in one) {
            world.maps.count(subject(), one.cell, one.count);
            sums[one.cell] = (sums[one.cell] as number) + one.count;
          } else if (one.do === 'edit') {
            edition += 1;
            process.policies.take(KEY, denying({ a: `/bin/a${edition}`, b: '/bin/b' }));
            process.apply(pod);
          } else if (one.do === 'later') process.later();
          else if (one.do === 'flush') await process.flush();
          else if (one.do === 'kill') process = begin();
          else if (one.do === 'deaf') world.isDeaf = !world.isDeaf;
          else world.isBusThere = !world.isBusThere;
        }
        world.isDeaf = false;
        world.isBusThere = true;
        process = begin();
        process.later();
        await process.flush();
        expect([world.told('guard/a'), world.told('guard/b')]).toEqual(sums);
        expect([process.accounts.size, world.problems]).toEqual([1, []]);
        rmSync(world.dir, { recursive: true, force: true });
      }),
      { numRuns: 60 },
    );
  });
});
