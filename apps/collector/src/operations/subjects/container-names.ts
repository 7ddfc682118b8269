/**
 * Finds the container of a sample by its cgroup and caches the result. Limit: MAX_NAMES, after
 * which the cache is cleared. A pod is searched at most once a second, so a flood of samples of an
 * unknown container costs one search.
 */
import { normalPodUid } from '@bailiff/bpf';
import type { PodIdentity } from '@bailiff/schemas';
import type { ContainerRef } from '../counting/account.ts';
import { containersIn, podCgroupDirs } from './cgroups.ts';

/** Twice the containers of a large node. */
export const MAX_NAMES = 4096;
const SEARCH_AGAIN_MS = 1_000;

export class ContainerNames {
  readonly #root: string;
  readonly #pods: () => ReadonlyMap<string, PodIdentity> | null;
  readonly #nowMs: () => number;
  readonly #names = new Map<bigint, ContainerRef>();
  readonly #searchedAt = new Map<string, number>();

  constructor(root: string, pods: () => ReadonlyMap<string, PodIdentity> | null, nowMs: () => number) {
    this.#root = root;
    this.#pods = pods;
    this.#nowMs = nowMs;
  }

  /** @param pod 32 hex digits */
  find(pod: string, cgroupId: bigint): ContainerRef | null {
    const known = this.#names.get(cgroupId);
    if (known) return known;
    const now = this.#nowMs();
    if (now - (this.#searchedAt.get(pod) ?? Number.NEGATIVE_INFINITY) < SEARCH_AGAIN_MS) return null;
    if (this.#names.size >= MAX_NAMES || this.#searchedAt.size >= MAX_NAMES) {
      this.#names.clear();
      this.#searchedAt.clear();
    }
    this.#searchedAt.set(pod, now);
    const identity = [...(this.#pods()?.values() ?? [])].find(({ uid }) => normalPodUid(uid) === pod);
    const dir = podCgroupDirs(this.#root).get(pod);
    if (!identity || dir === undefined) return null;
    for (const container of containersIn(dir, identity.containers))
      this.#names.set(BigInt(container.cgroupId), container);
    return this.#names.get(cgroupId) ?? null;
  }
}
