/**
 * Reads what guards and actions look at: the pod always anew, its owner's replica counts from a small cache (a burst of verdicts about
 * one owner asks once), the node for cordon only. What the cache does not know yet, the guards take off by STATUS_LAG_MICROS.
 */

import {
  type Facts,
  needsReservation,
  nodeFactsOf,
  type OwnerFacts,
  type OwnerRef,
  ownerFactsOf,
  ownerPath,
  type PodFacts,
  podFactsOf,
} from '@bailiff/answer';
import { apiPath, getObject, getPod, type KubeApi } from '@bailiff/kube';
import type { Verdict } from '@bailiff/schemas';

/** Much below STATUS_LAG_MICROS, so that the two together never miss a removal. */
export const OWNER_CACHE_MS = 2_000;
/** Owners kept; above it the oldest reading goes. */
export const OWNER_CACHE_SIZE = 1_024;

export class FactReader {
  #owners = new Map<string, { readAtMs: number; facts: OwnerFacts | null }>();
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** @throws KubeError */
  async read(api: KubeApi, action: string, verdict: Verdict): Promise<Facts> {
    const [podBody, nodeBody] = await Promise.all([
      verdict.pod ? getPod(api, verdict.pod) : null,
      action === 'cordon' ? getObject(api, apiPath`/api/v1/nodes/${verdict.nodeName}`) : null,
    ]);
    const pod = podBody && podFactsOf(podBody);
    const owner = pod?.owner && needsReservation(action) ? await this.#owner(api, pod, pod.owner) : null;
    return { pod, owner, node: nodeBody && nodeFactsOf(nodeBody) };
  }

  async #owner(api: KubeApi, pod: PodFacts, owner: OwnerRef): Promise<OwnerFacts | null> {
    const path = ownerPath(pod.namespace, owner);
    if (path === null) return null;
    // By the whole of what the pod says: one that names another's owner in its own namespace must not answer for that one's pods.
    const key = `${path} ${owner.uid}`;
    const known = this.#owners.get(key);
    const nowMs = this.#monotonicMs();
    if (known && nowMs - known.readAtMs < OWNER_CACHE_MS) return known.facts;
    const body = await getObject(api, path);
    const facts = body && ownerFactsOf(body, owner);
    this.#owners.delete(key);
    this.#owners.set(key, { readAtMs: nowMs, facts });
    const [oldest] = this.#owners.keys();
    if (this.#owners.size > OWNER_CACHE_SIZE && oldest !== undefined) this.#owners.delete(oldest);
    return facts;
  }
}
