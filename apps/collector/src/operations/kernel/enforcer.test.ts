// Lifecycle of policy sets and exact counting over maps in memory: replacing a set, the last
// reading and release of the old one, and adoption by the next process.

import { readdirSync, rmSync } from 'node:fs';
import type { RuntimeSubject } from '@bailiff/bpf';
import type { OperationSample, PodIdentity, ViolationFrame } from '@bailiff/schemas';
import { temporaryDirectory } from '@bailiff/service/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Flusher } from '../../publishing/flusher.ts';
import type { Account } from '../counting/account.ts';
import { AccountStore } from '../counting/account-store.ts';
import type { AckedCells } from '../counting/acked-cells.ts';
import { AccountAdapter } from '../publishing/adapter.ts';
import { desiredSubjects } from '../subjects/desired.ts';
import { Policies } from '../subjects/policies.ts';
import { denying, type MemoryMaps, memoryAcked, memoryMaps, podIdentity, uidOf } from '../testing.ts';
import { adoptSubjects } from './adoption.ts';
import { Enforcer } from './enforcer.ts';
import { KernelSets } from './sets.ts';

const KEY = 'runtime.cluster._.guard';

/** State that outlives a process: maps, acknowledged counts, files, the bus. */
class World {
  readonly maps: MemoryMaps;
  readonly acked: AckedCells;
  readonly dir = temporaryDirectory();
  readonly problems: string[] = [];
  /** Maximum by epoch. */
  readonly bus = new Map<string, number>();
  /** Epochs with a final count. */
  readonly finals = new Set<string>();
  largestFrame = 0;
  /** Subject, count, suppressed; in the order of publishing. */
  readonly operations: [string, number, number][] = [];
  isBusAvailable = true;
  /** Acknowledgements of the bus are lost. */
  losesAcks = false;
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

  published(vector: string): number {
    return [...this.bus].reduce((sum, [epoch, n]) => sum + (epoch.includes(`/${vector}/`) ? n : 0), 0);
  }
}

/** One process in a world. `later` lets time pass. */
class Process {
  readonly policies = new Policies();
  readonly accounts = new Map<number, Account>();
  readonly sets: KernelSets;
  readonly enforcer: Enforcer;
  readonly adapter: AccountAdapter;
  readonly flusher: Flusher<Account>;
  readonly #store: AccountStore;
  #due: (() => void)[] = [];

  constructor(world: World, version = '1', pins = 'pins') {
    const { maps, acked } = world;
    const onProblem = (_: string, reason: string) => void world.problems.push(reason);
    this.#store = new AccountStore(world.dir, { onProblem });
    const allocate = () => ++world.generation;
    this.sets = new KernelSets(maps, allocate);
    const clock = { nowMicros: () => 1, nowMs: () => 1, bootWallMicros: () => 0 };
    this.adapter = new AccountAdapter({
      bootId: 'boot',
      accounts: this.accounts,
      clock,
      bootNs: () => 0n,
      read: ({ stored }) => Float64Array.from(maps.counters(stored.base, stored.count), Number),
      onAcked: (account, cells) => {
        if (account.counts !== null) return;
        for (let i = 0; i < cells.length; i += 2)
          acked.write(account.stored.base + (cells[i] as number), account.ledger.acked()[cells[i] as number] as number);
      },
      onSettled: ({ stored }) => {
        this.accounts.delete(stored.generation);
        this.#store.remove(stored);
      },
    });
    this.flusher = new Flusher(
      {
        nodeName: 'n',
        bootId: 'boot',
        version,
        clock,
        flushIntervalMs: 0,
        nextSequence: allocate,
        sink: {
          hasCapacity: () => world.isBusAvailable,
          hasShare: () => true,
          whenCapacity: () => new Promise(() => undefined),
          publish: (frame) => {
            world.take(structuredClone(frame));
            return world.losesAcks ? new Promise(() => undefined) : Promise.resolve();
          },
        },
        onError: (error) => void world.problems.push(error.message),
      },
      this.adapter,
    );
    this.enforcer = new Enforcer({
      maps,
      acked,
      sets: this.sets,
      store: this.#store,
      accounts: this.accounts,
      pins,
      version,
      factsOf: ({ set }) => this.policies.factsOf(set as NonNullable<typeof set>),
      allocateGeneration: allocate,
      policiesVersion: () => this.policies.version,
      nowMs: () => 1,
      onBeforeChange: (account) => this.flusher.flush([account]),
      onNew: () => undefined,
      onRetired: () => undefined,
      after: (_ms, action) => void this.#due.push(action),
    });
    adoptSubjects({
      maps,
      acked,
      pins,
      version,
      store: this.#store,
      sets: this.sets,
      enforcer: this.enforcer,
      accounts: this.accounts,
      onProblem,
    });
  }

  /** Of all namespaces. */
  auditUntilNs = 0n;

  /** @returns reasons by subject; null: in force */
  apply(...pods: PodIdentity[]): (string | null)[] {
    const { auditUntilNs, policies } = this;
    const containersOf = () => [{ name: 'web', id: 'containerd://web', cgroupId: '7' }];
    const { subjects } = desiredSubjects({ pods, policies, containersOf, auditUntilNs: () => auditUntilNs });
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

  it('changed policy - the new set is complete before the switch; the old one stays for a while, then its cells are free', async () => {
    const one = new Process(world);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    expect(one.apply(pod)).toEqual([null]);
    const before = subject();
    expect(world.maps.sets).toEqual(new Set([before.set]));
    world.maps.count(before, 0, 3);
    one.policies.receive(KEY, denying({ second: '/bin/two' }));
    one.apply(pod);
    const after = subject();
    expect(after.set).not.toBe(before.set);
    expect(after.generation).not.toBe(before.generation);
    expect(world.maps.sets).toEqual(new Set([before.set, after.set]));
    // A running program counts in the old cell after the switch.
    world.maps.count(before, 0, 2);
    one.later();
    await one.flush();
    expect(world.maps.sets).toEqual(new Set([after.set]));
    expect([world.published('guard/first'), one.accounts.size, one.enforcer.cellsUsed]).toEqual([
      5,
      1,
      after.counterCount,
    ]);
    expect(files()).toEqual([`account-${after.generation}.json`, expect.stringMatching(/^set-/)]);
  });

  it('unchanged policies and shared sets - nothing is written', () => {
    const one = new Process(world);
    const other = podIdentity('b');
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    one.apply(pod, other);
    const before = [subject(), subject(other)];
    expect(before[0]?.set).toBe(before[1]?.set);
    expect(before[0]?.counterBase).not.toBe(before[1]?.counterBase);
    one.apply(pod, other);
    expect([subject(), subject(other)]).toEqual(before);
    one.policies.receive(KEY, null);
    one.apply(pod, other);
    expect([subject().set, subject(other).set]).toEqual([0, 0]);
    expect(subject().generation).toBeGreaterThan(0);
  });

  it('labels that select more policies than fit - the pod has those that no label selects, in their newest revision, until the others fit', () => {
    const one = new Process(world);
    const byLabel = (app: string) => ({ selector: { podLabels: { matchLabels: { [app]: 'on' } } } });
    const names = [...Array(9)].map((_, n) => `by-label-${n}`);
    const setOf = (of = pod) => [...one.enforcer.all].find(({ key }) => key === uidOf(of));
    const rulesOf = () => one.accounts.get(subject().generation)?.facts.map(({ vector }) => vector) ?? [];
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    for (const name of names)
      one.policies.receive(`runtime.cluster._.${name}`, denying({ [name]: '/bin/sh' }, byLabel(name)));
    const labelled = { ...pod, labels: Object.fromEntries(names.map((name) => [name, 'on'])) };
    const refused = [expect.stringMatching(/9 rules meet at .*\/bin\/sh/)];
    expect(one.apply(labelled)).toEqual(refused);
    expect(rulesOf()).toContain('guard/first');
    one.policies.receive(KEY, denying({ second: '/bin/two' }));
    expect(one.apply(labelled)).toEqual(refused);
    expect(rulesOf()).toContain('guard/second');
    expect(one.apply({ ...labelled, labels: { 'by-label-0': 'on' } })).toEqual([null]);
    expect(rulesOf()).toEqual(expect.arrayContaining(['guard/second', 'by-label-0/by-label-0']));
    const before = setOf()?.digest;
    expect(one.apply(labelled), 'control: a former set stays').toEqual(refused);
    expect(setOf()?.digest).toBe(before);
  });

  it('labels that select more than fits, of a pod that has policies - it keeps them until one changes that no label selects, also over a restart; a disarm holds', () => {
    const crowd = (n: number) => `runtime.cluster._.crowd-${n}`;
    const byLabel = { selector: { podLabels: { matchLabels: { crowd: 'on' } } } };
    const labelled = { ...pod, labels: { crowd: 'on' } };
    const refused = [0, 1].map(() => expect.stringMatching(/9 rules meet/));
    const start = (common: string, crowds: number) => {
      const process = new Process(world);
      process.policies.receive(KEY, denying({ [common]: '/bin/common' }));
      const named = { selector: { ...byLabel.selector, containers: ['web'] } };
      process.policies.receive('runtime.cluster._.named', denying({ named: '/bin/named' }, named));
      for (let n = 0; n < crowds; n += 1) process.policies.receive(crowd(n), denying({ [`${n}`]: '/bin/sh' }, byLabel));
      return process;
    };
    /** Rules of the container, and of the pod. */
    const rulesOf = ({ accounts }: Process) =>
      [world.maps.containers.entries()[0]?.[1], subject()].map((value) =>
        accounts.get(value?.generation ?? 0)?.facts.flatMap(({ vector }) => (/\/\w+$/.test(vector) ? [vector] : [])),
      );
    const one = start('first', 8);
    expect(one.apply(labelled)).toEqual([null, null]);
    const before = rulesOf(one);
    expect(before[1]).toEqual(expect.arrayContaining(['guard/first', 'crowd-7/7']));
    one.policies.receive(crowd(8), denying({ last: '/bin/sh' }, byLabel));
    one.auditUntilNs = 9n ** 18n;
    expect(one.apply(labelled)).toEqual(refused);
    expect([rulesOf(one), subject().auditUntilNs]).toEqual([before, one.auditUntilNs]);

    const two = start('first', 9);
    expect(two.apply(labelled)).toEqual(refused);
    expect([rulesOf(two), subject().auditUntilNs]).toEqual([before, 0n]);
    for (const [process, common] of [
      [two, 'second'],
      [start('second', 9), 'second'],
      [start('third', 9), 'third'],
    ] as const) {
      process.policies.receive(KEY, denying({ [common]: '/bin/common' }));
      expect(process.apply(labelled)).toEqual(refused);
      expect(rulesOf(process)).toEqual([[`guard/${common}`], [`guard/${common}`]]);
    }
  });

  it('share of sets used up by labels - a policy that no label selects is in force for each pod when it changes', () => {
    Object.assign(world.maps, { setCapacities: { ...world.maps.setCapacities, head: 6 } });
    const one = new Process(world);
    const labelled = (n: number) => ({ ...podIdentity(`${n}`), labels: { [`crowd-${n}`]: 'on' } });
    const pods = [0, 1, 2].map(labelled);
    one.policies.receive(KEY, denying({ first: '/bin/common' }));
    for (let n = 0; n < 4; n += 1)
      one.policies.receive(
        `runtime.cluster._.crowd-${n}`,
        denying({ [`${n}`]: '/bin/sh' }, { selector: { podLabels: { matchLabels: { [`crowd-${n}`]: 'on' } } } }),
      );
    expect(one.apply(...pods)).toEqual([null, null, null]);
    const changed = [{ ...labelled(0), labels: { 'crowd-3': 'on' } }, ...pods.slice(1)];
    const refused = [expect.stringMatching(/has its share/), null, null];
    expect(one.apply(...changed), 'control').toEqual(refused);
    one.policies.receive(KEY, denying({ second: '/bin/common' }));
    expect(one.apply(...changed)).toEqual(refused);
    const rules = changed.map((of) => one.accounts.get(subject(of).generation)?.facts[0]?.vector);
    expect(rules.toSorted()).toEqual(['crowd-1/1', 'crowd-2/2', 'guard/second']);
  });

  it('subject that changes too often - it waits with its former set, and a disarm of its namespace holds and ends', () => {
    const one = new Process(world);
    const flip = (n: number) => one.apply({ ...pod, labels: { [`label-${n % 3}`]: 'on' } });
    for (const n of [0, 1, 2])
      one.policies.receive(
        `runtime.cluster._.by-label-${n}`,
        denying({ [`${n}`]: '/bin/sh' }, { selector: { podLabels: { matchLabels: { [`label-${n}`]: 'on' } } } }),
      );
    for (let n = 0; n < 200; n += 1) flip(n);
    const before = subject();
    one.enforcer.takeWaiting();
    for (const untilNs of [9n ** 18n, 0n]) {
      one.auditUntilNs = untilNs;
      const changes = [0, 1, 2].flatMap((n) => {
        flip(n);
        return one.enforcer.takeWaiting() > 0 ? [subject()] : [];
      });
      expect(changes, 'two wait').toEqual([before, before].map((one) => ({ ...one, auditUntilNs: untilNs })));
    }
  });

  it.each([
    { what: 'no cells', spoil: () => {}, rules: 400, reason: 'adjacent counters' },
    { what: 'no room for the set', spoil: () => (world.maps.maxSets = 1), rules: 2, reason: 'is full' },
  ])('refused - $what: with the reason; the old set stays in force and loses no count', ({ spoil, rules, reason }) => {
    const one = new Process(world);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    const before = subject();
    const used = one.enforcer.cellsUsed;
    spoil();
    const many = Object.fromEntries(Array.from({ length: Math.min(rules, 200) }, (_, i) => [`r${i}`, `/bin/${i}`]));
    one.policies.receive(KEY, denying(many));
    expect(one.apply(pod)).toEqual([expect.stringContaining(reason)]);
    expect(subject()).toEqual(before);
    expect([one.enforcer.cellsUsed, one.accounts.size, world.maps.sets.size]).toEqual([used, 1, 1]);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    expect(one.apply(pod)).toEqual([null]);
  });

  it('restart - a set in force is recognized by its digest; another build writes its own', () => {
    const one = new Process(world);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    const before = subject();
    const two = new Process(world);
    two.policies.receive(KEY, denying({ first: '/bin/one' }));
    expect(two.apply(pod)).toEqual([null]);
    expect(subject()).toEqual(before);
    const three = new Process(world, '2');
    three.policies.receive(KEY, denying({ first: '/bin/one' }));
    three.apply(pod);
    expect(subject().set).not.toBe(before.set);
    three.later();
    expect(world.maps.sets).toEqual(new Set([subject().set]));
  });

  it('several operations of one rule between two flushes - a violation each, with the exact count', async () => {
    const one = new Process(world);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    const [account] = [...one.accounts.values()] as [Account];
    const sample = (subject: string) => ({ operation: 'exec', subject, observedAt: 1 }) as OperationSample;
    for (const subject of ['/a', '/b', '/a', '/c']) one.adapter.addSample(account, 0, sample(subject));
    world.maps.count(subject(), 0, 9);
    await one.flush();
    expect(world.operations).toEqual([
      ['/b', 1, 0],
      ['/a', 2, 0],
      ['/c', 1, 5],
    ]);
    expect(world.published('guard/first')).toBe(9);
    one.adapter.addSample(account, 0, sample('/a'));
    world.maps.count(subject(), 0, 1);
    await one.flush();
    expect(world.operations.at(-1)).toEqual(['/a', 1, 0]);
    expect(world.published('guard/first')).toBe(10);
  });

  it('killed before the last reading, without bus - the next process reads and publishes it', async () => {
    const one = new Process(world);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    world.maps.count(subject(), 0, 4);
    world.isBusAvailable = false;
    await one.flush();
    one.policies.receive(KEY, denying({ second: '/bin/two' }));
    one.apply(pod);
    world.maps.count(subject(), 0, 7);
    const two = new Process(world);
    two.later();
    // Read and stored on disk; killed again before the bus was available.
    const three = new Process(world);
    world.isBusAvailable = true;
    await three.flush();
    expect([world.published('guard/first'), world.published('guard/second'), world.problems]).toEqual([4, 7, []]);
    expect(three.accounts.size).toBe(1);
  });

  it('more cells than one turn - all are published within the frame limit, each with a final count', async () => {
    rmSync(world.dir, { recursive: true, force: true });
    world = new World(1000);
    const one = new Process(world);
    const rules = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`r${i}`, `/bin/${i}`]));
    one.policies.receive(KEY, denying(rules));
    one.apply(pod);
    for (let cell = 0; cell < 200; cell += 1) world.maps.count(subject(), cell, cell + 1);
    one.policies.receive(KEY, null);
    one.apply(pod);
    one.later();
    await one.flush();
    expect([world.bus.size, [...world.bus.values()].reduce((a, b) => a + b, 0)]).toEqual([200, (200 * 201) / 2]);
    expect([world.finals.size, world.largestFrame, one.accounts.size, files()]).toEqual([200, 64, 0, []]);
    rmSync(world.dir, { recursive: true, force: true });
  });

  it('recreated maps - lost counts are reported, subjects begin again', () => {
    const one = new Process(world);
    one.policies.receive(KEY, denying({ first: '/bin/one' }));
    one.apply(pod);
    world.maps.pods.delete(uidOf(pod));
    const two = new Process(world, '1', 'other pins');
    expect(world.problems).toEqual([expect.stringContaining('are lost with their maps')]);
    expect([two.accounts.size, world.maps.sets.size, files()]).toEqual([0, 0, []]);
  });

  it('any run of operations, edits, lost acknowledgements and kills - the bus has the exact sum of each rule', async () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ count: fc.integer({ min: 1, max: 9 }), cell: fc.nat(1) }) },
      { weight: 2, arbitrary: fc.constant({ do: 'edit' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'later' as const }) },
      { weight: 3, arbitrary: fc.constant({ do: 'flush' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'kill' as const }) },
      { weight: 1, arbitrary: fc.constantFrom({ do: 'lose-acks' as const }, { do: 'no-bus' as const }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        rmSync(world.dir, { recursive: true, force: true });
        world = new World();
        let edition = 0;
        const sums = [0, 0];
        const begin = () => {
          const process = new Process(world);
          process.policies.receive(KEY, denying({ a: `/bin/a${edition}`, b: '/bin/b' }));
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
            process.policies.receive(KEY, denying({ a: `/bin/a${edition}`, b: '/bin/b' }));
            process.apply(pod);
          } else if (one.do === 'later') process.later();
          else if (one.do === 'flush') await process.flush();
          else if (one.do === 'kill') process = begin();
          else if (one.do === 'lose-acks') world.losesAcks = !world.losesAcks;
          else world.isBusAvailable = !world.isBusAvailable;
        }
        world.losesAcks = false;
        world.isBusAvailable = true;
        process = begin();
        process.later();
        await process.flush();
        expect([world.published('guard/a'), world.published('guard/b')]).toEqual(sums);
        expect([process.accounts.size, world.problems]).toEqual([1, []]);
        rmSync(world.dir, { recursive: true, force: true });
      }),
      { numRuns: 60 },
    );
  });
});
