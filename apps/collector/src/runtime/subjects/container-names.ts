/**
 * Cgroup of a container → its name, for samples: asked of the directories once and remembered. Bound: MAX_NAMES, then it begins anew; a
 * container that is not found is looked for again only after a while, so that a flood of samples costs one look.
 */
import { normalPodUid } from '@bailiff/bpf';
import type { PodIdentity } from '@bailiff/schemas';
import type { ContainerRef } from '../counting/account.ts';
import { containersIn, podDirs } from './cgroups.ts';

/** Twice the containers of a large node. */
export const MAX_NAMES = 4096;
const LOOK_AGAIN_MS = 1_000;

export class ContainerNames {
  readonly #root: string;
  readonly #pods: () => ReadonlyMap<string, PodIdentity> | null;
  readonly #nowMs: () => number;
  readonly #names = new Map<bigint, ContainerRef>();
  readonly #lookedAt = new Map<string, number>();

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
    if (now - (this.#lookedAt.get(pod) ?? Number.NEGATIVE_INFINITY) < LOOK_AGAIN_MS) return null;
    if (this.#names.size >= MAX_NAMES || this.#lookedAt.size >= MAX_NAMES) {
      this.#names.clear();
      this.#lookedAt.clear();
    }
    this.#lookedAt.set(pod, now);
    const identity = [...(this.#pods()?.values() ?? [])].find(({ uid }) => normalPodUid(uid) === pod);
    const dir = podDirs(this.#root).get(pod);
    if (!identity || dir === undefined) return null;
    for (const container of containersIn(dir, identity.containers))
      this.#names.set(BigInt(container.cgroupId), container);
    return this.#names.get(cgroupId) ?? null;
  }
}
