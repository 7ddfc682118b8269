/**
 * Finds quarantined pods that are gone, so that the responder can give their places in the
 * quarantine list to other pods (`quarantinesGone` of the node's status).
 *
 * Only the node can tell: the containers of a force-deleted pod run on although the API server no
 * longer has the pod. A pod is gone if the pod list in force omits it and no interface of the node
 * belongs to it, for GONE_AFTER_MS. Nothing is gone while the list is rejected or incomplete, or while
 * it is not known which pod an interface belongs to. Such a time does not begin the wait again: the
 * interface of each new pod is unknown at first, and tenants start pods without end.
 */
import type { DesiredState } from '../desired/desired-state.ts';
import type { Registry } from '../packets/subjects/registry.ts';

/**
 * Longer than a kubelet waits for a pod sandbox (4 minutes): a kubelet that has not heard of the
 * deletion may still start one.
 */
export const GONE_AFTER_MS = 300_000;
/** Listed at once; the next status lists further ones. Bounds the bytes of the status. */
export const MAX_GONE_LISTED = 256;

export class GoneQuarantines {
  /** Quarantined pods that are gone, with the time of the first observation. */
  #goneSinceMs = new Map<string, number>();

  /** Pods that are gone for GONE_AFTER_MS. @param nowMs a monotonic clock */
  observe(desired: DesiredState, registry: Registry, nowMs: number): string[] {
    const present = presentPods(desired, registry);
    if (!present) return [];
    const gone = [...desired.quarantined.keys()].filter((podUid) => !present.has(podUid));
    this.#goneSinceMs = new Map(gone.map((podUid) => [podUid, this.#goneSinceMs.get(podUid) ?? nowMs]));
    return gone
      .filter((podUid) => nowMs - (this.#goneSinceMs.get(podUid) ?? nowMs) >= GONE_AFTER_MS)
      .slice(0, MAX_GONE_LISTED);
  }
}

/** Pods of the list and of the interfaces; null: it is not known which. */
function presentPods(desired: DesiredState, registry: Registry): Set<string> | null {
  if (!desired.listsEveryPod) return null;
  const present = new Set([...desired.pods.keys()].filter((podUid) => desired.listsAsRunning(podUid)));
  for (const { binding, orphaned, unlistedPod = '' } of registry.allLive()) {
    if (orphaned) continue;
    const podUid = binding?.podUid ?? unlistedPod;
    if (podUid === '') return null;
    present.add(podUid);
  }
  // One beyond the share of its pod is no other pod's: a tenant must not keep the list from shrinking.
  for (const { waitsForSlot } of registry.others.values())
    if (waitsForSlot && registry.guardedWith(waitsForSlot.linkNetnsid) === 0) return null;
  return present;
}
