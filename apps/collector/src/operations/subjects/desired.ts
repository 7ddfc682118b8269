/**
 * Computes the desired subjects from the pods of the node, their containers and the policies. Pure.
 *
 * A pod has a subject for each running container that a policy names, and one for the rest. A pod
 * without policies has none. A former subject keeps an empty set until its cgroup is gone: its
 * tasks are bound to the pod, and the kernel denies everything to a bound task of an unknown pod.
 */
import { normalPodUid } from '@bailiff/bpf';
import { PolicyError, type PolicySet } from '@bailiff/runtime';
import { cutTexts, MAX_TEXT, type PodIdentity, type PodRef } from '@bailiff/schemas';
import type { ContainerRef } from '../counting/account.ts';
import type { Policies, PolicyMatch } from './policies.ts';

export interface Subject {
  /** The pod's UID, or `c<cgroup id>` of a container. */
  readonly key: string;
  /** 32 hex digits. */
  readonly podUid: string;
  readonly pod: PodRef;
  /** null: the pod's own subject. */
  readonly container: ContainerRef | null;
  readonly set: PolicySet | null;
  /** Keys of its policies. */
  readonly policies: readonly string[];
  readonly hasContainers: boolean;
  readonly auditUntilNs: bigint;
  /** The subject with the policies that no label selects, if its labels select more than fit; null: it is one. */
  readonly least: (() => Subject) | null;
}

/** A subject that keeps its current set, because the desired one is impossible. */
export interface Refusal {
  readonly subject: string;
  /** As in the pod list. */
  readonly podUid: string;
  /** Name of the container; null: the pod's own. */
  readonly container: string | null;
  readonly policies: readonly string[];
  readonly reason: string;
}

export interface Desired {
  /** Containers before their pod, because the flag of the pod sends the kernel to them. */
  readonly subjects: Subject[];
  readonly refusals: Refusal[];
}

export interface DesiredInput {
  readonly pods: Iterable<PodIdentity>;
  readonly policies: Policies;
  /**
   * Running containers of a pod, by the names of their cgroups. Called only for pods with policies
   * for named containers.
   */
  containersOf(pod: PodIdentity): readonly ContainerRef[];
  auditUntilNs(namespace: string): bigint;
}

export const containerKey = (cgroupId: bigint | string): string => `c${cgroupId}`;

function podRefOfIdentity(pod: PodIdentity): PodRef {
  const owner = pod.owners.at(-1);
  // A list limits characters, and a frame bytes: one text that is too long would keep the frame back.
  const ref: PodRef = {
    uid: pod.uid,
    namespace: pod.namespace,
    name: pod.name,
    serviceAccount: pod.serviceAccount,
    ownerKind: owner?.kind ?? '',
    ownerName: owner?.name ?? '',
    ownerUid: owner?.uid ?? '',
  };
  return cutTexts(ref, MAX_TEXT.PodRef);
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
      const name = container?.name ?? null;
      const own = { ...common, key, container, hasContainers: container === null && containers.length > 0 };
      const match = matchOf(input.policies, pod, name);
      if ('reason' in match) refusals.push({ subject: key, podUid: pod.uid, container: name, ...match });
      else {
        const least = (): Subject => ({ ...own, ...setOf(input.policies.match(pod, name, true)), least: null });
        subjects.push({ ...own, ...setOf(match), least });
      }
    };
    for (const container of containers) add(container);
    add(null);
  }
  return { subjects, refusals };
}

const setOf = ({ policies, set }: PolicyMatch) => ({ set, policies: policies.map(({ key }) => key) });

function matchOf(
  policies: Policies,
  pod: PodIdentity,
  container: string | null,
): PolicyMatch | { policies: string[]; reason: string } {
  try {
    return policies.match(pod, container);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { policies: policies.selecting(pod, container).map(({ key }) => key), reason: error.message };
  }
}
