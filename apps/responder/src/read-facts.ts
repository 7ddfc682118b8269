/**
 * Reads what guards and actions look at: the pod each time, its owner from a small cache (a burst of verdicts about one owner asks once),
 * the node for cordon only. What the cache does not know yet, the guards take off by STATUS_LAG_MICROS.
 *
 * The pod chooses which owner is read, so a read that fails must not protect it. An owner that the API server refuses to return counts as
 * absent. After OWNER_PATIENCE_MS of failed tries, so does one that cannot be read for another reason.
 */

import {
  confirmedOwner,
  type Facts,
  needsReservation,
  nodeFactsOf,
  type OwnerFacts,
  type OwnerObject,
  type OwnerRef,
  ownerFactsOf,
  ownerObjectOf,
  ownerPath,
  type PodFacts,
  podFactsOf,
} from '@bailiff/answer';
import { apiPath, getObject, getPod, type KubeApi, KubeError } from '@bailiff/kube';
import type { Verdict } from '@bailiff/schemas';

/** Much below STATUS_LAG_MICROS, so that the two together never miss a removal. */
export const OWNER_CACHE_MS = 2_000;
/** Owners kept; above it the oldest reading goes. */
export const OWNER_CACHE_SIZE = 1_024;
/** A task that has failed for this long goes on without the owner that it cannot read. Half of `giveUpAfterMs` where that is shorter. */
export const OWNER_PATIENCE_MS = 60_000;
/** Refusals that waiting or another credential may mend: not of the object that was asked for. */
const MENDABLE: ReadonlySet<number> = new Set([401, 403, 408, 425, 429]);

/** What is kept of an owner. */
interface Owner {
  object: OwnerObject;
  facts: OwnerFacts;
}

/** How long the task has failed, and after how long it goes on without its pod's owner. */
export interface OwnerPatience {
  failingForMs: number;
  boundMs: number;
}
const PATIENT: OwnerPatience = { failingForMs: 0, boundMs: OWNER_PATIENCE_MS };

export class FactReader {
  #owners = new Map<string, { readAtMs: number; owner: Owner | null }>();
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** @throws KubeError */
  async read(api: KubeApi, action: string, verdict: Verdict, patience: OwnerPatience = PATIENT): Promise<Facts> {
    const [podBody, nodeBody] = await Promise.all([
      verdict.pod ? getPod(api, verdict.pod) : null,
      action === 'cordon' ? getObject(api, apiPath`/api/v1/nodes/${verdict.nodeName}`) : null,
    ]);
    const pod = podBody && podFactsOf(podBody);
    const topUid = verdict.pod?.ownerUid ?? '';
    const isNeeded = pod?.owner && topUid !== '' && needsReservation(action);
    const owner = isNeeded ? await this.#owner(api, pod, topUid, patience) : null;
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
    if (!isFresh) this.#keep(path, nowMs, owner);
    // By pod: of two pods that name one owner, one may be the owner's and the other not.
    return owner && confirmedOwner(pod, owner.object, topUid) ? owner.facts : null;
  }

  #keep(path: string, readAtMs: number, owner: Owner | null): void {
    this.#owners.delete(path);
    this.#owners.set(path, { readAtMs, owner });
    const [oldest] = this.#owners.keys();
    if (this.#owners.size > OWNER_CACHE_SIZE && oldest !== undefined) this.#owners.delete(oldest);
  }
}

async function readOwner(api: KubeApi, path: string, kind: string, patience: OwnerPatience): Promise<Owner | null> {
  try {
    const body = await getObject(api, path);
    return body && { object: ownerObjectOf(body), facts: ownerFactsOf(body, kind) };
  } catch (error) {
    if (!(error instanceof KubeError) || error.code === 'KUBE_ABORTED') throw error;
    const isRefused = error.status >= 400 && error.status < 500 && !MENDABLE.has(error.status);
    if (isRefused || patience.failingForMs >= patience.boundMs) return null;
    throw error;
  }
}
