/**
 * Selects the policies of a container: namespaces, labels and container names, as Kubernetes
 * matches them. Pure.
 */
import type { RuntimePolicy, RuntimeSelector } from '@bailiff/policy';

/** Facts of a pod that a policy selects by. */
export interface PodFacts {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A policy under its key. */
export interface NamedPolicy {
  /** `runtime.cluster._.no-shell`: the order of merging. */
  readonly key: string;
  readonly name: string;
  /** Null at cluster scope. */
  readonly namespace: string | null;
  readonly policy: RuntimePolicy;
}

function labelsMatch(labels: Readonly<Record<string, string>>, wanted: RuntimeSelector['podLabels']): boolean {
  // Object.hasOwn: a label may be called "constructor".
  const of = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  for (const [key, value] of Object.entries(wanted?.matchLabels ?? {})) if (of(key) !== value) return false;
  return (wanted?.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = of(key);
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    if (operator === 'In') return value !== undefined && values.includes(value);
    return value === undefined || !values.includes(value);
  });
}

/** True if a policy is enabled and selects the pod, whatever its containers. */
export function selectsPod({ namespace, policy }: NamedPolicy, pod: PodFacts): boolean {
  if (!policy.enabled) return false;
  if (namespace !== null && namespace !== pod.namespace) return false;
  const { namespaces, excludeNamespaces, podLabels } = policy.selector;
  if (namespaces !== undefined && !namespaces.includes(pod.namespace)) return false;
  if (excludeNamespaces?.includes(pod.namespace)) return false;
  return labelsMatch(pod.labels, podLabels);
}

/**
 * True if a policy holds for a container of the pod. If `container` is null (its name is not known
 * yet), only policies for all containers hold.
 */
export function selects(named: NamedPolicy, pod: PodFacts, container: string | null): boolean {
  if (!selectsPod(named, pod)) return false;
  const { containers } = named.policy.selector;
  return containers === undefined || (container !== null && containers.includes(container));
}

/**
 * Container names in the policies of the pod. Each of these containers needs a set of its own
 * (SUBJECT_CONTAINERS).
 */
export function containersNamed(policies: readonly NamedPolicy[], pod: PodFacts): string[] {
  const names = new Set<string>();
  for (const named of policies)
    if (selectsPod(named, pod)) for (const name of named.policy.selector.containers ?? []) names.add(name);
  return [...names].sort();
}
