// Namespaces with many containers under policies, beside a neighbour with few, over maps in memory.

import type { PodIdentity } from '@bailiff/schemas';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Account } from '../counting/account.ts';
import { AccountStore } from '../counting/account-store.ts';
import { desiredSubjects } from '../subjects/desired.ts';
import { Policies } from '../subjects/policies.ts';
import { denying, type MemoryMaps, memoryAcked, memoryMaps, podIdentity } from '../testing.ts';
import { adoptSubjects } from './adoption.ts';
import { Enforcer } from './enforcer.ts';
import { KernelSets } from './sets.ts';

const CONTAINERS = Array.from({ length: 8 }, (_, n) => `c${n}`);

class Node {
  readonly enforcer: Enforcer;
  readonly policies = new Policies();
  readonly accounts = new Map<number, Account>();
  #due: (() => void)[] = [];

  constructor(maps: MemoryMaps, dir: string, first = 0) {
    let number = first;
    const shared = { maps, accounts: this.accounts, acked: memoryAcked(maps.counterCells), pins: 'pins', version: '1' };
    const sets = new KernelSets(maps, () => ++number);
    const store = new AccountStore(dir, { onProblem: () => undefined });
    this.enforcer = new Enforcer({
      ...shared,
      sets,
      store,
      factsOf: ({ set }) => this.policies.factsOf(set as NonNullable<typeof set>),
      allocateGeneration: () => ++number,
      policiesVersion: () => this.policies.version,
      nowMs: () => 1,
      onBeforeChange: () => undefined,
      onNew: () => undefined,
      onRetired: () => undefined,
      after: (_ms, action) => void this.#due.push(action),
    });
    this.policies.receive('runtime.cluster._.pods', denying({ shell: '/bin/sh' }));
    const selector = { containers: CONTAINERS };
    this.policies.receive('runtime.cluster._.containers', denying({ curl: '/bin/curl' }, { selector }));
    adoptSubjects({ ...shared, sets, store, enforcer: this.enforcer, onProblem: () => undefined });
  }

  /** Reasons by subject of each pod: its containers, then itself; null: in force. */
  apply(pods: readonly PodIdentity[], containers = CONTAINERS): (string | null)[][] {
    const { subjects } = desiredSubjects({
      pods,
      policies: this.policies,
      auditUntilNs: () => 0n,
      containersOf: (pod) =>
        containers.map((name, n) => ({
          name,
          id: `containerd://${name}`,
          cgroupId: String(1_000 * Number(`0x${pod.uid.slice(0, 8)}`) + n),
        })),
    });
    return pods.map(({ name }) =>
      subjects.filter(({ pod }) => pod.name === name).map((one) => this.enforcer.apply(one)),
    );
  }

  removeAll(): void {
    for (const one of [...this.enforcer.all]) this.enforcer.remove(one);
    for (const action of this.#due.splice(0)) action();
  }
}

/** Pods of one namespace; those of two calls differ by `first`. */
const pods = (namespace: string, first: number, count: number): PodIdentity[] =>
  Array.from({ length: count }, (_, n) => {
    const uid = `${(first + n).toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
    return podIdentity('a', { uid, namespace, name: `${namespace}-${first + n}` });
  });
const refusedOf = (results: (string | null)[][]) => results.flat().filter((reason) => reason !== null);

describe('containers under policies', () => {
  let dir: string;
  beforeEach(() => {
    dir = temporaryDirectory();
  });

  /** A node of so many subjects or cells, with a tenant that has 16 pods of 8 containers. */
  function withTenant(maxSubjects: number, cells: number) {
    const maps = { ...memoryMaps(cells), maxSubjects };
    const node = new Node(maps, dir);
    return { maps, node, tenant: node.apply(pods('tenant', 1, 16)) };
  }

  it.each([
    [
      'subjects',
      64,
      10_000,
      /^namespace tenant has its share of the 48 subjects for containers: let policies name fewer/,
    ],
    ['counters', 1_000, 2_000, /^namespace tenant has its share of the 1000 counters for containers/],
  ])(
    'a namespace that uses up its %s - refused by name, with a subject for each pod; a neighbour is in force; control: without a share of its own it is not',
    (_what, maxSubjects, cells, reason) => {
      const { node, tenant } = withTenant(maxSubjects, cells);
      const refused = refusedOf(tenant);
      expect(refused.length).toBeGreaterThan(40);
      expect(refused.filter((one) => !reason.test(one ?? ''))).toEqual([]);
      expect(tenant.map((results) => results.at(-1))).toEqual(Array(16).fill(null));
      expect(refusedOf(node.apply(pods('tenant', 100, 1), ['c0'])), 'control').toHaveLength(1);
      expect(refusedOf(node.apply(pods('neighbour', 200, 2), ['c0', 'c1']))).toEqual([]);
    },
  );

  it('refused subjects are in force when others are gone, and everything is free at the end', () => {
    const { node, tenant } = withTenant(64, 10_000);
    const inForce = () => [...node.enforcer.all].length;
    const before = inForce();
    node.removeAll();
    expect([inForce(), node.enforcer.cellsUsed]).toEqual([0, 0]);
    expect(node.apply(pods('tenant', 1, 16))).toEqual(tenant);
    expect(inForce()).toBe(before);
  });

  it('subjects of an earlier process stay in force, and count', () => {
    const { maps, tenant } = withTenant(64, 10_000);
    const next = new Node(maps, dir, 1_000);
    expect(next.apply(pods('tenant', 1, 16))).toEqual(tenant);
    expect(refusedOf(next.apply(pods('neighbour', 200, 2), ['c0', 'c1']))).toEqual([]);
    next.removeAll();
    expect(next.enforcer.cellsUsed).toBe(0);
    expect(
      next
        .apply(pods('other', 300, 3))
        .flat()
        .filter((one) => one === null),
    ).toHaveLength(3 * 9);
  });
});
