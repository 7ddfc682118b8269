/**
 * Measures how long containers ran before their policy was applied, for pods that the bus listed
 * after they had started. The kernel records when a container's cgroup was created. A policy that
 * is new for a known pod does not count.
 */
import { normalPodUid, type RuntimeMaps } from '@bailiff/bpf';
import { childCgroups } from '../subjects/cgroups.ts';
import type { InForce } from './enforcer.ts';

export class SubjectLatency {
  readonly #born: RuntimeMaps['born'];
  readonly #bootNs: () => bigint;
  readonly #onBound: (seconds: number) => void;
  /** 32 hex digits of the pods of the previous pass; null: there was none. */
  #known: ReadonlySet<string> | null = null;
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

  /** Call it after each pass over all pods. @param dirs cgroups of pods, by 32 hex digits */
  observe(pods: Iterable<{ uid: string }>, dirs: ReadonlyMap<string, string>): void {
    const now = this.#bootNs();
    const counted = new Set<bigint>();
    for (const { podUid, cgroupId } of this.#new.splice(0)) {
      const dir = dirs.get(podUid);
      if (this.#known === null || this.#known.has(podUid) || dir === undefined) continue;
      for (const id of cgroupId === null ? childCgroups(dir).map((child) => child.id) : [cgroupId]) {
        const at = this.#born(id);
        if (at === undefined || counted.has(id)) continue;
        this.#onBound(Number(now - at) / 1e9);
        counted.add(id);
      }
    }
    this.#known = new Set([...pods].map(({ uid }) => normalPodUid(uid) ?? uid));
  }
}
