/**
 * Policies by what a pod must have to be selected: its namespace, and the value of a label. So the labels
 * of a pod are compared with those of few policies, whatever their number: a tenant changes labels all the
 * time, and each change may concern all pods of a node. Pure.
 */
import type { RuntimeSelector } from '@bailiff/policy';
import type { NamedPolicy, PodFacts } from './select.ts';

interface Placed {
  named: NamedPolicy;
  order: number;
}

/** Instead of a namespace: policies for all of them. */
const ANY = '';

/** Policies of one namespace. */
class Group {
  /** Without a required label. */
  readonly #others: Placed[] = [];
  readonly #byLabel = new Map<string, Map<string, Placed[]>>();

  add(placed: Placed): void {
    const required = requiredLabel(placed.named.policy.selector.podLabels);
    if (required === null) {
      this.#others.push(placed);
      return;
    }
    const byValue = this.#byLabel.get(required.key) ?? new Map<string, Placed[]>();
    this.#byLabel.set(required.key, byValue);
    for (const value of new Set(required.values)) append(byValue, value, placed);
  }

  candidates(labels: PodFacts['labels']): Placed[] {
    const found = [...this.#others];
    for (const [key, byValue] of this.#byLabel) {
      // What is no label of the pod, such as "constructor", is no text.
      const more = byValue.get(labels[key] ?? '');
      if (more) found.push(...more);
    }
    return found;
  }
}

export class PolicyIndex {
  readonly #groups = new Map<string, Group>();

  constructor(policies: Iterable<NamedPolicy>) {
    let order = 0;
    for (const named of policies) {
      const { namespace, policy } = named;
      const namespaces = namespace === null ? (policy.selector.namespaces ?? [ANY]) : [namespace];
      for (const one of new Set(namespaces)) {
        const group = this.#groups.get(one) ?? new Group();
        this.#groups.set(one, group);
        group.add({ named, order });
      }
      order += 1;
    }
  }

  /** Policies that may select the pod, and all that do, in the order in which they were given. */
  candidates({ namespace, labels }: PodFacts): NamedPolicy[] {
    const found = [ANY, namespace].flatMap((one) => this.#groups.get(one)?.candidates(labels) ?? []);
    return found.sort((a, b) => a.order - b.order).map(({ named }) => named);
  }
}

/** A label that a pod must have, with one of these values; null: none. */
function requiredLabel(wanted: RuntimeSelector['podLabels']): { key: string; values: readonly string[] } | null {
  const [exact] = Object.entries(wanted?.matchLabels ?? {});
  if (exact) return { key: exact[0], values: [exact[1]] };
  const among = wanted?.matchExpressions?.find(({ operator }) => operator === 'In');
  return among ? { key: among.key, values: among.values ?? [] } : null;
}

function append(to: Map<string, Placed[]>, key: string, placed: Placed): void {
  const all = to.get(key);
  if (all) all.push(placed);
  else to.set(key, [placed]);
}
