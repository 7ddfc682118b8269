/**
 * Recorded operations under the policies to try: one row per pod, program and operation. Pure. The
 * decision is that of libs/runtime.
 */
import type { PlacedPod } from '@bailiff/insight';
import {
  containersNamed,
  type Judgement,
  judgeCounted,
  judgePosture,
  judgeRecorded,
  mergeSelected,
  type NamedPolicy,
  onlyOperation,
  type PodFacts,
  type PolicySet,
  type RecordedOperation,
  type RuleIR,
  selects,
  selectsPod,
} from '@bailiff/runtime';
import type { PodRef } from '@bailiff/schemas';
import { Turns } from '@bailiff/service/turns';
import { type OperationRecord, type Seen, timesOf, type Unsampled } from './record.ts';

export interface Row extends Seen {
  /** Empty: unknown, or any. */
  container: string;
  /** Empty: unknown. */
  program: string;
  /** Null: several operations of one rule or posture. */
  operation: RecordedOperation | null;
  /** The rule or posture that counted it; empty for a sampled operation. */
  countedBy: string;
  judgement: Judgement;
  passed: number;
  /** Denied already when it was recorded. */
  denied: number;
}

/** The rule of a policy at a revision; null: not known. */
export type RuleOf = (cell: Pick<Unsampled, 'policy' | 'policyRevision' | 'vector'>) => RuleIR | null;

type Sets = readonly (PolicySet | null)[];
const UNKNOWN_LABELS: Judgement = {
  outcome: 'undecided',
  because: 'its pod is gone and no pod of its owner is left: its labels are not recorded',
};

/** The policy sets that a recorded operation may have belonged to. */
class SetsOfPods {
  readonly #policies: readonly NamedPolicy[];
  readonly #tried: ReadonlySet<string>;
  readonly #pods: ReadonlyMap<string, PlacedPod>;
  readonly #byOwner = new Map<string, PlacedPod>();
  readonly #merged = new Map<string, PolicySet>();
  /** Pods that are gone, and judged as another pod of their owner. */
  readonly asSiblings = new Set<string>();

  constructor(policies: readonly NamedPolicy[], tried: ReadonlySet<string>, pods: readonly PlacedPod[]) {
    this.#policies = policies;
    this.#tried = tried;
    this.#pods = new Map(pods.map((pod) => [pod.uid, pod]));
    for (const pod of pods) for (const { uid } of pod.owners) this.#byOwner.set(uid, pod);
  }

  /** Null: its labels are not known. */
  #factsOf(pod: PodRef): PlacedPod | null {
    const own = this.#pods.get(pod.uid);
    if (own) return own;
    const sibling = pod.ownerUid === '' ? undefined : this.#byOwner.get(pod.ownerUid);
    if (sibling) this.asSiblings.add(pod.uid);
    return sibling ?? null;
  }

  /** False: none of the tried policies selects it. Null: a policy selects by labels, which are not known. */
  selected(pod: PodRef): boolean | null {
    const facts = this.#factsOf(pod);
    const tried = this.#policies.filter(({ key }) => this.#tried.has(key));
    if (facts) return tried.some((named) => selectsPod(named, facts));
    const any = this.#withoutLabels(tried, pod.namespace);
    if (any.length === 0) return false;
    return this.#withoutLabels(this.#policies, pod.namespace).some(({ policy }) => policy.selector.podLabels)
      ? null
      : true;
  }

  /** The container of a pod that has only one; else empty. */
  onlyContainer(pod: PodRef): string {
    const containers = this.#factsOf(pod)?.containers ?? [];
    return containers.length === 1 ? (containers[0]?.name ?? '') : '';
  }

  /** Policies that may select a pod of a namespace. */
  #withoutLabels(policies: readonly NamedPolicy[], namespace: string): NamedPolicy[] {
    return policies.filter((named) => {
      const { podLabels: _, ...selector } = named.policy.selector;
      return selectsPod({ ...named, policy: { ...named.policy, selector } }, { namespace, labels: {} });
    });
  }

  /** @param container empty: any container of the pod */
  of(pod: PodRef, container: string): Sets {
    const known = this.#factsOf(pod);
    const facts: PodFacts = known ?? { namespace: pod.namespace, labels: {} };
    const all = new Set([
      ...(known?.containers.map(({ name }) => name) ?? []),
      ...containersNamed(this.#policies, facts),
    ]);
    const containers = container === '' ? [...all, null] : [container];
    const keys = new Map<string, PolicySet | null>();
    for (const name of containers) {
      const mine = this.#policies.filter((named) => selects(named, facts, name));
      const key = mine.map((named) => named.key).join(' ');
      const merged = mine.length === 0 ? null : (this.#merged.get(key) ?? mergeSelected(mine));
      if (merged) this.#merged.set(key, merged);
      keys.set(key, merged);
    }
    return [...keys.values()];
  }
}

export interface Judged {
  rows: Row[];
  /** Operations of pods that no tried policy selects. */
  otherPods: number;
  /** Pods that are gone, and judged as another pod of their owner. */
  asSiblings: number;
}

export interface JudgeOptions {
  /** All policies that hold, the tried ones included. */
  policies: readonly NamedPolicy[];
  /** Keys of those to try. */
  tried: ReadonlySet<string>;
  pods: readonly PlacedPod[];
  ruleOf: RuleOf;
}

function judgeUnsampled(sets: Sets, cell: Unsampled, rule: RuleIR | null): Judgement {
  if (rule) return judgeCounted(sets, rule);
  if (cell.posture) return judgePosture(sets, cell.posture);
  if (sets.every((set) => set === null)) return judgeCounted(sets, { matches: [], source: null });
  return { outcome: 'undecided', because: 'it was counted without a sample, and its rule is not known any more' };
}

/** Others of the process have their turn meanwhile. @throws PolicyError POLICY_LIMIT; the signal's reason */
export async function judgeRecord(
  record: OperationRecord,
  { policies, tried, pods, ruleOf }: JudgeOptions,
  signal?: AbortSignal,
): Promise<Judged> {
  const turns = new Turns();
  const rest = () => turns.due()?.then(() => signal?.throwIfAborted());
  const sets = new SetsOfPods(policies, tried, pods);
  const rows = new Map<string, Row>();
  let otherPods = 0;
  const add = (row: Row) => {
    const { pod, nodeName, container, program, operation, countedBy } = row;
    const key = JSON.stringify([
      ...[nodeName, pod.uid, container, program, countedBy, row.judgement.outcome],
      ...[operation?.operation, operation?.subject, operation?.address, operation?.port, operation?.protocol],
    ]);
    const known = rows.get(key);
    if (!known) {
      rows.set(key, row);
      return;
    }
    known.passed += row.passed;
    known.denied += row.denied;
    known.firstAtMicros = Math.min(known.firstAtMicros, row.firstAtMicros);
    known.lastAtMicros = Math.max(known.lastAtMicros, row.lastAtMicros);
  };
  for (const { operation: sample, unresolved, generations, ...seen } of record.operations) {
    await rest();
    const times = timesOf({ generations });
    const selected = sets.selected(seen.pod);
    if (selected === false) {
      otherPods += times.passed + times.denied;
      continue;
    }
    const { operation, subject, address, port, protocol, executable, comm, containerName: container } = sample;
    const recorded = { operation, subject, address, port, protocol, executable };
    const judgement =
      selected === null ? UNKNOWN_LABELS : judgeRecorded(sets.of(seen.pod, container), recorded, unresolved);
    add({ ...seen, ...times, container, program: executable || comm, operation: recorded, countedBy: '', judgement });
  }
  for (const cell of record.unsampled) {
    await rest();
    const { pod, nodeName, firstAtMicros, lastAtMicros, vector, denied, operations } = cell;
    const selected = sets.selected(pod);
    if (selected === false) {
      otherPods += operations;
      continue;
    }
    const rule = ruleOf(cell);
    const judgement = selected === null ? UNKNOWN_LABELS : judgeUnsampled(sets.of(pod, ''), cell, rule);
    const [operation = null, ...ofOthers] = (rule && onlyOperation(rule)) ?? [];
    const program = ofOthers.length > 0 ? '' : (operation?.executable ?? '');
    const times = denied ? { passed: 0, denied: operations } : { passed: operations, denied: 0 };
    const container = sets.onlyContainer(pod);
    const what = { container, program, operation, countedBy: program === '' ? vector : '' };
    add({ pod, nodeName, firstAtMicros, lastAtMicros, ...what, judgement, ...times });
  }
  return { rows: [...rows.values()], otherPods, asSiblings: sets.asSiblings.size };
}
