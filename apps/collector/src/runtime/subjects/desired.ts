/**
 * What should be in force: pods of the node and their containers × policies → subjects. Pure.
 *
 * A pod that some policy names containers of has a set for each of those that run, and one for the rest, which also holds for those
 * whose name is not known yet. A pod that no policy selects is no subject; one that was, stays with an empty set until its cgroup goes
 * (its tasks are bound, and a bound task of a pod that nobody knows is refused everything).
 */
import { normalPodUid } from '@bailiff/bpf';
import { PolicyError, type PolicySet } from '@bailiff/runtime';
import type { PodIdentity, PodRef } from '@bailiff/schemas';
import type { ContainerRef } from '../counting/account.ts';
import type { Holding, Policies } from './policies.ts';

export interface Subject {
  /** The pod's UID, or `c<cgroup id>` of a container. */
  readonly key: string;
  /** 32 hex digits. */
  readonly podUid: string;
  readonly pod: PodRef;
  /** null: the pod's own subject. */
  readonly container: ContainerRef | null;
  readonly set: PolicySet | null;
  /** Keys of the policies that hold. */
  readonly policies: readonly string[];
  readonly hasContainers: boolean;
  readonly auditUntilNs: bigint;
}

/** A subject that keeps what it has, because what should hold cannot. */
export interface Refusal {
  readonly subject: string;
  /** As its list writes it. */
  readonly podUid: string;
  /** Name of the container; null: the pod's own. */
  readonly container: string | null;
  readonly policies: readonly string[];
  readonly reason: string;
}

export interface Desired {
  /** Containers before their pod: its flag sends the kernel to them. */
  readonly subjects: Subject[];
  readonly refusals: Refusal[];
}

export interface DesiredInput {
  readonly pods: Iterable<PodIdentity>;
  readonly policies: Policies;
  /** Containers of a pod that run, by what their cgroups are called. Asked only of pods whose containers a policy names. */
  containersOf(pod: PodIdentity): readonly ContainerRef[];
  auditUntilNs(namespace: string): bigint;
}

export const containerKey = (cgroupId: bigint | string): string => `c${cgroupId}`;

export function podRefOfIdentity(pod: PodIdentity): PodRef {
  const owner = pod.owners.at(-1);
  return {
    uid: pod.uid,
    namespace: pod.namespace,
    name: pod.name,
    serviceAccount: pod.serviceAccount,
    ownerKind: owner?.kind ?? '',
    ownerName: owner?.name ?? '',
    ownerUid: owner?.uid ?? '',
  };
}

export function desiredSubjects(input: DesiredInput): Desired {
  const subjects: Subject[] = [];
  const refusals: Refusal[] = [];
  for (const pod of input.pods) {
    const podUid = normalPodUid(pod.uid);
    if (podUid === null) {
      const policies = input.policies.selecting(pod, null).map(({ key }) => key);
      const refused = { subject: pod.uid, podUid: pod.uid, container: null, policies };
      if (policies.length > 0) refusals.push({ ...refused, reason: `pod ${pod.uid}: not a UID` });
      continue;
    }
    const named = input.policies.containersOf(pod);
    const containers = named.length > 0 ? input.containersOf(pod).filter(({ name }) => named.includes(name)) : [];
    const common = { podUid, pod: podRefOfIdentity(pod), auditUntilNs: input.auditUntilNs(pod.namespace) };
    const add = (container: ContainerRef | null) => {
      const key = container ? containerKey(container.cgroupId) : podUid;
      const holding = held(input.policies, pod, container?.name ?? null);
      if ('reason' in holding)
        refusals.push({ subject: key, podUid: pod.uid, container: container?.name ?? null, ...holding });
      else
        subjects.push({
          ...common,
          key,
          container,
          set: holding.set,
          policies: holding.policies.map((one) => one.key),
          hasContainers: container === null && containers.length > 0,
        });
    };
    for (const container of containers) add(container);
    add(null);
  }
  return { subjects, refusals };
}

function held(
  policies: Policies,
  pod: PodIdentity,
  container: string | null,
): Holding | { policies: string[]; reason: string } {
  try {
    return policies.holdingFor(pod, container);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { policies: policies.selecting(pod, container).map(({ key }) => key), reason: error.message };
  }
}
