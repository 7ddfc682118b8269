/**
 * The runtime policies from the bus, the last good value of each key, and the merged policy set of
 * a container. Pure.
 *
 * Merged sets are cached by the keys of their policies, because most pods of a node share them.
 * Limits: MAX_POLICIES; cached sets are those that some subject needed in the last pass.
 */
import { ConfigError, parseConfigKey, parseValueBy, runtimePolicy, runtimePolicyScoped } from '@bailiff/policy';
import {
  COUNTER_EXTRA,
  cellName,
  containersNamed,
  mergeSelected,
  type NamedPolicy,
  type PodFacts,
  PolicyIndex,
  type PolicySet,
  selects,
} from '@bailiff/runtime';
import type { ReceiveResult } from '../../desired/desired-state.ts';
import type { CellFacts } from '../counting/account.ts';

/** As many as the keys that a reader of the bus follows. */
export const MAX_POLICIES = 4096;

/** The rejected newest value of a policy. */
export interface RefusedPolicy {
  readonly revision: number | null;
  readonly reason: string;
}

/** Policies of one container, or of the containers that no policy names. */
export interface PolicyMatch {
  readonly policies: readonly NamedPolicy[];
  /** null: no policy. */
  readonly set: PolicySet | null;
}

export class Policies {
  readonly #named = new Map<string, NamedPolicy>();
  /** null: a policy changed since. */
  #index: PolicyIndex | null = null;
  readonly #sets = new Map<string, PolicySet>();
  /** Keys of the merged sets that were needed since the last `forgetUnused`. */
  #used = new Set<string>();
  readonly #facts = new WeakMap<PolicySet, readonly CellFacts[]>();
  /** Keys whose newest value was rejected; the last good value, if any, stays in force. */
  readonly refused = new Map<string, RefusedPolicy>();

  /** Grows with each change of a policy. */
  version = 0;

  get all(): Iterable<NamedPolicy> {
    return this.#named.values();
  }

  get size(): number {
    return this.#named.size;
  }

  has(key: string): boolean {
    return this.#named.has(key);
  }

  /** @param json null: the key was deleted */
  receive(keyText: string, json: string | null): ReceiveResult {
    if (json === null) {
      const wasRefused = this.refused.delete(keyText);
      if (!this.#named.delete(keyText)) return { changed: wasRefused };
      this.#invalidate(keyText);
      return { changed: true };
    }
    try {
      const key = parseConfigKey(keyText);
      const policy = parseValueBy(key.scope === 'cluster' ? runtimePolicy : runtimePolicyScoped, key, json);
      if (!this.#named.has(keyText) && this.#named.size >= MAX_POLICIES)
        throw new ConfigError('CONFIG_SCHEMA', `${keyText}: more than ${MAX_POLICIES} policies`);
      this.#named.set(keyText, { key: keyText, name: key.name, namespace: key.namespace, policy });
      this.#invalidate(keyText);
      this.refused.delete(keyText);
      return { changed: true };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.refused.set(keyText, { revision: revisionIn(json), reason: error.message });
      return { refused: error.message };
    }
  }

  /** A policy changed: removes the cached sets that contain it. */
  #invalidate(keyText: string): void {
    this.version += 1;
    this.#index = null;
    for (const key of this.#sets.keys()) if (key.split(' ').includes(keyText)) this.#sets.delete(key);
  }

  /** Containers of the pod that some policy names. */
  containersOf(pod: PodFacts): string[] {
    return containersNamed(this.#candidates(pod), pod);
  }

  /**
   * @param container null: the containers that no policy names
   * @param isLeast only policies that no label selects: the author of the pod chooses its labels
   * @throws PolicyError POLICY_LIMIT
   */
  match(pod: PodFacts, container: string | null, isLeast = false): PolicyMatch {
    const all = this.selecting(pod, container);
    const policies = isLeast ? all.filter(({ policy }) => policy.selector.podLabels === undefined) : all;
    if (policies.length === 0) return { policies, set: null };
    const key = policies.map((named) => named.key).join(' ');
    let set = this.#sets.get(key);
    if (!set) {
      set = mergeSelected(policies);
      this.#sets.set(key, set);
    }
    this.#used.add(key);
    return { policies, set };
  }

  /**
   * Forgets the merged sets that no subject needed since the last call. A tenant can go through all
   * combinations of policies by changing labels.
   */
  forgetUnused(): void {
    for (const key of this.#sets.keys()) if (!this.#used.has(key)) this.#sets.delete(key);
    this.#used = new Set();
  }

  /** Merged sets in memory. */
  get merged(): number {
    return this.#sets.size;
  }

  /** Policies that select a container, whether or not they can be merged. */
  selecting(pod: PodFacts, container: string | null): NamedPolicy[] {
    return this.#candidates(pod).filter((named) => selects(named, pod, container));
  }

  #candidates(pod: PodFacts): NamedPolicy[] {
    this.#index ??= new PolicyIndex(this.#named.values());
    return this.#index.candidates(pod);
  }

  /** Meaning of each cell of a set. */
  factsOf(set: PolicySet): readonly CellFacts[] {
    let facts = this.#facts.get(set);
    if (!facts) {
      facts = cellFactsOf(set);
      this.#facts.set(set, facts);
    }
    return facts;
  }
}

/** Cells of the rules, followed by those of postures and of unresolved paths. */
export function cellFactsOf(set: PolicySet): CellFacts[] {
  return Array.from({ length: set.rules.length + COUNTER_EXTRA }, (_, cell) => {
    const name = cellName(set, cell);
    const rule = set.rules[cell];
    const owners = Object.values(set.postures).flatMap(({ block, audit }) => [block, audit]);
    const owner = rule ?? owners.find((one) => one !== null && one.policy === name?.policy) ?? null;
    return {
      vector: name?.vector ?? `cell-${cell}`,
      action: name?.action === 'block' || name?.action === 'kill' ? 'drop' : 'audit',
      policy: name?.policy ?? '',
      policyRevision: owner?.revision ?? 0,
      severity: owner?.severity ?? '',
      tags: owner?.tags ?? [],
      message: owner?.message ?? '',
    };
  });
}

/** Revision of a rejected value, for the status; null: it has none. */
function revisionIn(json: string): number | null {
  try {
    const value: unknown = JSON.parse(json);
    const revision = (value as { revision?: unknown } | null)?.revision;
    return typeof revision === 'number' ? revision : null;
  } catch {
    return null;
  }
}
