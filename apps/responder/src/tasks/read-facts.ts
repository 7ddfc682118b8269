/**
 * Reads the facts for guards and actions: the pod each time, its owner from a small cache, and the
 * node for cordon only. STATUS_LAG_MICROS of the guards covers changes that the cache does not
 * have.
 *
 * The pod chooses which owner is read, so a failed read must not protect it. An owner that the API
 * server refuses to return counts as absent. So does an unreadable one after OWNER_PATIENCE_MS, and for
 * a quarantine at once if no verdict confirms it: it protects from removals only.
 */

import { apiPath, getObject, type KubeApi, KubeError } from '@bailiff/kube';
import {
  type Facts,
  membershipOf,
  needsReservation,
  nodeFactsOf,
  type OwnerFacts,
  type OwnerObject,
  type OwnerRef,
  ownerFactsOf,
  ownerObjectOf,
  ownerPath,
  type PodFacts,
  podOfVerdict,
} from '@bailiff/response';
import type { Verdict } from '@bailiff/schemas';
import { RecentMap } from '@bailiff/service';
import { readPod, readRemoval } from '../actions/api.ts';

/** Well below STATUS_LAG_MICROS, so that together they never miss a removal. */
export const OWNER_CACHE_MS = 2_000;
/** Cached owners; beyond it the oldest is dropped. */
export const OWNER_CACHE_SIZE = 1_024;
/**
 * After failing to read it for this long, a task continues without the unreadable owner. At most half of
 * `giveUpAfterMs`.
 */
export const OWNER_PATIENCE_MS = 60_000;
/** HTTP statuses that waiting or other credentials may fix: they do not concern the object. */
const TEMPORARY: ReadonlySet<number> = new Set([401, 403, 408, 425, 429]);

interface Owner {
  object: OwnerObject;
  facts: OwnerFacts;
}

/** After what time a task continues without its pod's owner. */
export interface OwnerPatience {
  /** Called for each failed read of the owner: the time since the first one. Other failures shorten no patience. */
  failingForMs(): number;
  boundMs: number;
}
/** A read that must not wait. */
const ONCE: OwnerPatience = { failingForMs: () => 0, boundMs: 0 };
const PATIENT: OwnerPatience = { failingForMs: () => 0, boundMs: OWNER_PATIENCE_MS };

export class FactReader {
  readonly #owners = new RecentMap<string, { readAtMs: number; owner: Owner | null }>(OWNER_CACHE_SIZE);
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /**
   * @param of removal: only the metadata of the pod, whose removal was requested and is checked often
   * @throws KubeError
   */
  async read(
    api: KubeApi,
    action: string,
    verdict: Verdict,
    patience: OwnerPatience = PATIENT,
    of: 'pod' | 'removal' = 'pod',
  ): Promise<Facts> {
    const readOf = of === 'pod' ? readPod : readRemoval;
    const [pod, nodeBody] = await Promise.all([
      verdict.pod ? readOf(api, verdict.pod) : null,
      action === 'cordon' ? getObject(api, apiPath`/api/v1/nodes/${verdict.nodeName}`) : null,
    ]);
    const topUid = verdict.pod?.ownerUid ?? '';
    // Another pod of this name is no part of what the action removes.
    const own = podOfVerdict(pod, verdict);
    const bound = topUid === '' && action === 'quarantine' ? ONCE : patience;
    const owner = own?.owner && needsReservation(action) ? await this.#owner(api, own, topUid, bound) : null;
    return { pod, owner, node: nodeBody && nodeFactsOf(nodeBody) };
  }

  async #owner(api: KubeApi, pod: PodFacts, topUid: string, patience: OwnerPatience): Promise<OwnerFacts | null> {
    const ref = pod.owner as OwnerRef;
    const path = ownerPath(pod.namespace, ref);
    if (path === null) return null;
    const known = this.#owners.get(path);
    const nowMs = this.#monotonicMs();
    const isFresh = known !== undefined && nowMs - known.readAtMs < OWNER_CACHE_MS;
    const owner = isFresh ? known.owner : await readOwner(api, path, ref.kind, patience);
    // Another task may have more patience.
    if (owner === UNREADABLE) return null;
    if (!isFresh) this.#owners.set(path, { readAtMs: nowMs, owner });
    // Per pod: of two pods that reference one owner, the reference of one may be false.
    const membership = owner && membershipOf(pod, owner.object, topUid);
    if (!owner || !membership) return null;
    return membership === 'confirmed' ? owner.facts : { ...owner.facts, isClaimed: true };
  }
}

/** Nothing is known of the owner, and the task does not wait any longer. */
const UNREADABLE = Symbol('unreadable');

/** @returns null: there is none, or the server refuses to return it */
async function readOwner(
  api: KubeApi,
  path: string,
  kind: string,
  patience: OwnerPatience,
): Promise<Owner | null | typeof UNREADABLE> {
  try {
    const body = await getObject(api, path);
    return body && { object: ownerObjectOf(body), facts: ownerFactsOf(body, kind) };
  } catch (error) {
    if (!(error instanceof KubeError) || error.code === 'KUBE_ABORTED') throw error;
    const isRefused = error.status >= 400 && error.status < 500 && !TEMPORARY.has(error.status);
    if (isRefused) return null;
    if (patience.failingForMs() >= patience.boundMs) return UNREADABLE;
    throw error;
  }
}
