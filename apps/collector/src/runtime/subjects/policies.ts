/**
 * The runtime policies that the bus has told, each the last good one of its key, and what they come to for a container. Pure.
 *
 * What is merged is remembered by which policies hold together: most pods of a node have the same. Bounds: MAX_POLICIES; MAX_MERGED, beyond
 * which the memory begins anew.
 */
import { ConfigError, parseConfigKey, parseValueBy, runtimePolicy, runtimePolicyScoped } from '@bailiff/policy';
import {
  COUNTER_EXTRA,
  cellName,
  containersNamed,
  mergeSelected,
  type NamedPolicy,
  type PodFacts,
  type PolicySet,
  selects,
} from '@bailiff/runtime';
import type { Taken } from '../../desired/desired-state.ts';
import type { CellFacts } from '../counting/account.ts';

/** As many keys as a reader of the bus follows. */
export const MAX_POLICIES = 4096;
/** Twice the sets that the kernel holds. */
export const MAX_MERGED = 2048;

/** A policy that holds, or its newest version that was not taken. */
export interface RefusedPolicy {
  readonly revision: number | null;
  readonly reason: string;
}

/** What holds for one container, or for a pod's containers that no policy names. */
export interface Holding {
  readonly policies: readonly NamedPolicy[];
  /** null: no policy holds. */
  readonly set: PolicySet | null;
}

export class Policies {
  readonly #named = new Map<string, NamedPolicy>();
  readonly #sets = new Map<string, PolicySet>();
  readonly #facts = new WeakMap<PolicySet, readonly CellFacts[]>();
  /** Keys whose newest value was refused; the last good one, if any, holds. */
  readonly refused = new Map<string, RefusedPolicy>();

  get all(): Iterable<NamedPolicy> {
    return this.#named.values();
  }

  get size(): number {
    return this.#named.size;
  }

  has(key: string): boolean {
    return this.#named.has(key);
  }

  /** @param json null: it was deleted */
  take(keyText: string, json: string | null): Taken {
    if (json === null) {
      const was = this.refused.delete(keyText);
      if (!this.#named.delete(keyText)) return { changed: was };
      this.#forget(keyText);
      return { changed: true };
    }
    try {
      const key = parseConfigKey(keyText);
      const policy = parseValueBy(key.scope === 'cluster' ? runtimePolicy : runtimePolicyScoped, key, json);
      if (!this.#named.has(keyText) && this.#named.size >= MAX_POLICIES)
        throw new ConfigError('CONFIG_SCHEMA', `${keyText}: more than ${MAX_POLICIES} policies`);
      this.#named.set(keyText, { key: keyText, name: key.name, namespace: key.namespace, policy });
      this.#forget(keyText);
      this.refused.delete(keyText);
      return { changed: true };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.refused.set(keyText, { revision: revisionIn(json), reason: error.message });
      return { refused: error.message };
    }
  }

  /** Of what was merged, only what the policy is in means something else now. */
  #forget(keyText: string): void {
    for (const key of this.#sets.keys()) if (key.split(' ').includes(keyText)) this.#sets.delete(key);
  }

  /** Names of the pod's containers that some policy names. */
  containersOf(pod: PodFacts): string[] {
    return containersNamed([...this.#named.values()], pod);
  }

  /** @param container null: of those that no policy names. @throws PolicyError POLICY_LIMIT */
  holdingFor(pod: PodFacts, container: string | null): Holding {
    const policies = this.selecting(pod, container);
    if (policies.length === 0) return { policies, set: null };
    const key = policies.map((named) => named.key).join(' ');
    let set = this.#sets.get(key);
    if (!set) {
      set = mergeSelected(policies);
      if (this.#sets.size >= MAX_MERGED) this.#sets.clear();
      this.#sets.set(key, set);
    }
    return { policies, set };
  }

  /** The policies that hold, whether or not they merge. */
  selecting(pod: PodFacts, container: string | null): NamedPolicy[] {
    return [...this.#named.values()].filter((named) => selects(named, pod, container));
  }

  /** What each cell of a set counts. */
  factsOf(set: PolicySet): readonly CellFacts[] {
    let facts = this.#facts.get(set);
    if (!facts) {
      facts = cellFactsOf(set);
      this.#facts.set(set, facts);
    }
    return facts;
  }
}

/** By cell: its rules, and behind them postures and what has no path. */
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

/** Of a value that was refused, for who asks whether it came; null: it says none. */
function revisionIn(json: string): number | null {
  try {
    const value: unknown = JSON.parse(json);
    const revision = (value as { revision?: unknown } | null)?.revision;
    return typeof revision === 'number' ? revision : null;
  } catch {
    return null;
  }
}
