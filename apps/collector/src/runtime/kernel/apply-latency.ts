/**
 * How long containers ran before their policy was known: of pods that the bus told of after they had begun. The kernel writes down when a
 * container's cgroup was made; a policy that is new to a pod that was known says nothing about it. Bound: births that nobody asked for
 * are forgotten after BORN_KEPT_NS.
 */
import { normalPodUid, type RuntimeMaps } from '@bailiff/bpf';
import { childCgroups } from '../subjects/cgroups.ts';
import type { InForce } from './enforcer.ts';

const BORN_KEPT_NS = 600_000_000_000n;

export class Births {
  readonly #born: RuntimeMaps['born'];
  readonly #bootNs: () => bigint;
  readonly #onBound: (seconds: number) => void;
  /** 32 hex digits of pods that were there at the last look; null: there was none yet. */
  #seen: ReadonlySet<string> | null = null;
  readonly #new: InForce[] = [];

  constructor(born: RuntimeMaps['born'], bootNs: () => bigint, onBound: (seconds: number) => void) {
    this.#born = born;
    this.#bootNs = bootNs;
    this.#onBound = onBound;
  }

  /** A subject that had no policy before. */
  add(inForce: InForce): void {
    this.#new.push(inForce);
  }

  /** After a pass over all pods. @param dirs cgroups of pods by 32 hex digits */
  observe(pods: Iterable<{ uid: string }>, dirs: ReadonlyMap<string, string>): void {
    const now = this.#bootNs();
    for (const { podUid, cgroupId } of this.#new.splice(0)) {
      const dir = dirs.get(podUid);
      if (this.#seen === null || this.#seen.has(podUid) || dir === undefined) continue;
      for (const id of cgroupId === null ? childCgroups(dir).map((child) => child.id) : [cgroupId]) {
        const at = this.#born.get(id);
        if (at === undefined) continue;
        this.#onBound(Number(now - at) / 1e9);
        this.#born.delete(id);
      }
    }
    this.#seen = new Set([...pods].map(({ uid }) => normalPodUid(uid) ?? uid));
  }

  forgetOld(): void {
    const old = this.#bootNs() - BORN_KEPT_NS;
    for (const [id, at] of this.#born.entries()) if (at < old) this.#born.delete(id);
  }
}
