// A tenant that chooses by labels a different combination of policies for each of its pods, beside a
// neighbour, over maps in memory: the kernel's maps, the time of the collector, and its memory.

import type { PodIdentity } from '@bailiff/schemas';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Account } from '../counting/account.ts';
import { AccountStore } from '../counting/account-store.ts';
import { desiredSubjects } from '../subjects/desired.ts';
import { Policies } from '../subjects/policies.ts';
import { denying, type MemoryMaps, memoryAcked, memoryMaps, podIdentity, uidOf } from '../testing.ts';
import { CHANGES_AT_ONCE, CHANGES_PER_SECOND, STEADY_MS } from './change-rates.ts';
import { Enforcer } from './enforcer.ts';
import { KernelSets } from './sets.ts';

const POLICIES = 7;
const PODS = 2 ** POLICIES - 1;
/** One path a policy: the sets of all combinations have 448. */
const PATHS = 300;
const CELLS = 65_536;

const key = (bit: number) => `runtime.cluster._.p-${bit}`;
const policy = (bit: number, message = '') =>
  denying(
    { [`rule-${bit}`]: `/bin/program-${bit}` },
    { message, selector: { podLabels: { matchLabels: { [`p-${bit}`]: 'on' } } } },
  );

/** @param bits its policies */
const podOf = (namespace: string, index: number, bits: number): PodIdentity => {
  const uid = `${index.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
  const on = Array.from({ length: POLICIES }, (_, bit) => bit).filter((bit) => (bits >> bit) & 1);
  return podIdentity('a', { uid, namespace, labels: Object.fromEntries(on.map((bit) => [`p-${bit}`, 'on'])) });
};
/** Each has another combination of policies than the others, and in each round than before. */
const tenantPods = (round = 0) =>
  Array.from({ length: PODS }, (_, index) => podOf('tenant', index, 1 + ((index + round) % PODS)));

class Node {
  readonly maps: MemoryMaps;
  readonly policies = new Policies();
  readonly enforcer: Enforcer;
  written = 0;
  compiled = 0;
  paths = 0;
  nowMs = 0;
  #due: (() => void)[] = [];

  constructor(dir: string) {
    const memory = memoryMaps(CELLS);
    const paths = (keys: Parameters<MemoryMaps['deleteSet']>[0]) => memory.setEntries(keys).paths;
    this.maps = {
      ...memory,
      maxSets: PODS * 4,
      maxSubjects: PODS * 2,
      setCapacities: { ...memory.setCapacities, paths: PATHS },
      writeSet: (set) => {
        memory.maxSets = PODS * 4;
        memory.writeSet(set);
        this.written += 1;
        this.paths += set.paths.length;
      },
      deleteSet: (keys) => {
        memory.deleteSet(keys);
        this.paths -= paths(keys);
      },
    };
    let number = 0;
    const allocate = () => ++number;
    this.enforcer = new Enforcer({
      maps: this.maps,
      acked: memoryAcked(CELLS),
      pins: 'pins',
      version: '1',
      accounts: new Map<number, Account>(),
      sets: new KernelSets(this.maps, () => {
        this.compiled += 1;
        return allocate();
      }),
      store: new AccountStore(dir, { onProblem: () => undefined }),
      factsOf: ({ set }) => this.policies.factsOf(set as NonNullable<typeof set>),
      allocateGeneration: allocate,
      policiesVersion: () => this.policies.version,
      nowMs: () => this.nowMs,
      onBeforeChange: () => undefined,
      onNew: () => undefined,
      onRetired: () => undefined,
      after: (_ms, action) => void this.#due.push(action),
    });
    for (let bit = 0; bit < POLICIES; bit += 1) this.policies.receive(key(bit), policy(bit));
  }

  /** One pass. @returns reasons by pod; null: in force */
  apply(pods: readonly PodIdentity[]): (string | null)[] {
    const { subjects } = desiredSubjects({
      pods,
      policies: this.policies,
      containersOf: () => [],
      auditUntilNs: () => 0n,
    });
    this.policies.forgetUnused();
    return subjects.map((subject) => this.enforcer.apply(subject));
  }

  setOf(pod: PodIdentity): number {
    return this.maps.pods.get(uidOf(pod))?.set ?? 0;
  }

  /** The grace period of sets without subjects is over. */
  later(): void {
    for (const action of this.#due.splice(0)) action();
  }
}

describe('a tenant with many combinations of policies', () => {
  let dir: string;
  let node: Node;
  beforeEach(() => {
    dir = temporaryDirectory();
    node = new Node(dir);
  });
  /** Needs a set that no pod of the tenant has: all but the first policy. */
  const neighbour = (namespace: string) => podOf(namespace, 1_000, PODS - 1);
  const tenant = () => tenantPods().filter((_, index) => index + 1 !== PODS - 1);

  it('the maps - a neighbour gets a set of its own; control: another pod of the tenant does not', () => {
    const refused = node.apply(tenant()).filter((reason) => reason !== null);
    expect(refused.length).toBeGreaterThan(PODS / 4);
    expect(refused[0]).toBe(
      `namespace tenant has its share of the ${PATHS} paths of policies on the node: select its pods by fewer combinations of policies, or run fewer of its pods on the node`,
    );
    expect(node.apply([neighbour('tenant')])[0]).toContain('has its share');
    expect(node.apply([neighbour('other')])).toEqual([null]);
    expect(node.paths).toBeLessThanOrEqual(PATHS / 2 + 1 + POLICIES);
  });

  it('the maps - when pods of the tenant end, the refused ones get their sets', () => {
    const first = node.apply(tenant());
    for (const one of [...node.enforcer.all]) node.enforcer.remove(one);
    node.later();
    expect(node.paths).toBe(0);
    const rest = tenant().filter((_, index) => first[index] !== null);
    expect(node.apply(rest.slice(0, 20))).toEqual(rest.slice(0, 20).map(() => null));
  });

  it('the time - a refused set is compiled once, however often it is asked for', () => {
    node.apply(tenant());
    const { compiled } = node;
    for (let pass = 0; pass < 20; pass += 1) node.apply(tenant());
    expect(node.compiled).toBe(compiled);
  });

  it('the time - a set that cannot be compiled is tried once, however many pods ask for it, and again when a policy changes', () => {
    const crowd = (index: number, path = '/bin/sh') =>
      node.policies.receive(
        `runtime.cluster._.crowd-${index}`,
        denying({ [`crowd-${index}`]: path }, { selector: { podLabels: { matchLabels: { crowd: 'on' } } } }),
      );
    for (let index = 0; index < 9; index += 1) crowd(index);
    const pods = tenantPods().map((pod) => ({ ...pod, labels: { crowd: 'on' } }));
    for (let pass = 0; pass < 5; pass += 1)
      expect(new Set(node.apply(pods))).toEqual(new Set([expect.stringContaining('9 rules meet')]));
    expect(node.compiled).toBe(1);
    crowd(0, '/bin/other');
    expect(new Set(node.apply(pods))).toEqual(new Set([null]));
    expect(node.compiled).toBe(2);
  });

  it('the maps - an edited policy is in force for all pods of a namespace that has its share', () => {
    const refused = node.apply(tenant());
    const covered = tenant().filter((_, index) => refused[index] === null);
    const before = covered.map((pod) => node.setOf(pod));
    for (let bit = 0; bit < POLICIES; bit += 1) node.policies.receive(key(bit), policy(bit, 'edited'));
    node.apply(tenant());
    expect(covered.filter((pod, index) => node.setOf(pod) === before[index])).toEqual([]);
    node.later();
    expect(node.apply([neighbour('other')])).toEqual([null]);
    expect(node.paths).toBeLessThanOrEqual(PATHS / 2 + 1 + POLICIES);
  });

  /** Half of the pods, so that all fit. */
  const flip = (round: number) => tenantPods(round).slice(0, PODS / 4);

  it('the time - labels that change all the time cause few sets; control: as many edits of policies cause all', () => {
    const rounds = 40;
    const run = (isEdited: boolean) => {
      const written = node.written;
      for (let round = 0; round < rounds; round += 1) {
        node.nowMs += 100;
        node.later();
        if (isEdited) node.policies.receive(key(0), policy(0, `${round}`));
        node.apply(flip(round));
      }
      return node.written - written;
    };
    const most = flip(0).length + CHANGES_AT_ONCE + (rounds / 10) * CHANGES_PER_SECOND;
    expect(run(false)).toBeLessThanOrEqual(most);
    expect(node.enforcer.takeWaiting()).toBeGreaterThan(0);
    expect(run(true), 'control').toBeGreaterThan(3 * most);
  });

  it('the time - a new pod and a steady one do not wait, nor does a pod of another namespace', () => {
    const steady = (bits: number) => podOf('tenant', 2_000, bits);
    node.apply([steady(1)]);
    node.nowMs += STEADY_MS;
    for (let round = 0; round < 20; round += 1) {
      node.nowMs += 100;
      node.later();
      node.apply(flip(round));
    }
    expect(node.enforcer.takeWaiting()).toBeGreaterThan(0);
    const before = node.setOf(steady(1));
    const own = [steady(2), podOf('tenant', 2_001, 3), podOf('other', 2_002, 4)];
    node.apply(own);
    expect(own.map((pod) => node.setOf(pod) > 0)).toEqual([true, true, true]);
    expect(node.setOf(steady(2))).not.toBe(before);
    node.apply([podOf('other', 2_002, 5)]);
    expect(node.enforcer.takeWaiting()).toBe(0);
  });

  it('the memory - merged sets of former labels are forgotten', () => {
    for (let round = 0; round < PODS; round += 1) node.apply(flip(round).slice(0, 2));
    expect(node.policies.merged).toBeLessThanOrEqual(2);
  });
});
