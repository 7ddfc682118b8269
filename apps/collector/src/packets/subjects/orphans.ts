/**
 * Finds interfaces that outlive their pods or their networks (identity/pod-life.ts decides), and keeps for each where
 * its pod was seen.
 *
 * Data path: timer → cgroups, CNI records, pod list → here → `orphaned` → reconciler → kernel. A pod
 * has ended if two looks in a row agree, because a source can miss it for a moment. An orphaned
 * interface stays one, also over a restart, until its pod is found alive or it is bound again.
 */

import { listPodCgroups, MAX_POD_CGROUPS } from '../../identity/pod-cgroups.ts';
import { isReplaced, lifeOf, type PodSigns, type Sources, signsOf } from '../../identity/pod-life.ts';
import type { OnProblem } from '../../process/problem-log.ts';
import type { BindingStore } from './binding-store.ts';
import { type GuardedInterface, storedOf } from './guarded-interface.ts';
import type { Registry } from './registry.ts';

export interface OrphansOptions extends Pick<Sources, 'recordOf' | 'list'> {
  onProblem: OnProblem;
  registry: Pick<Registry, 'allLive'>;
  store: Pick<BindingStore, 'save'>;
  /** cgroup v2 root that contains kubepods; empty: no pod is known to have ended. */
  cgroupRoot: string;
  /** `orphaned` of these interfaces changed. */
  onChanged(changed: readonly GuardedInterface[]): void;
}

interface Look {
  iface: GuardedInterface;
  podUid: string;
  signs: Omit<PodSigns, 'isReplaced'>;
}

export class Orphans {
  readonly #o: OrphansOptions;
  /** Generations whose pods had ended at the last check. */
  #ended = new Set<number>();
  #noting: NodeJS.Immediate | null = null;
  /** Pods with a cgroup at the last look; null: the listing was not complete. */
  cgroupPods: ReadonlySet<string> | null = null;

  constructor(options: OrphansOptions) {
    this.#o = options;
  }

  /** Looks where the pods are, as soon as the caller has finished: a pod may end within moments. */
  noteSoon(): void {
    this.#noting ??= setImmediate(() => {
      this.#noting = null;
      this.#look();
    });
  }

  /** Call it on a timer. */
  check(): void {
    const changed: GuardedInterface[] = [];
    const ended = new Set<number>();
    const byPod = new Map<string, GuardedInterface[]>();
    const looks = this.#look();
    for (const { iface, podUid } of looks) byPod.set(podUid, [...(byPod.get(podUid) ?? []), iface]);
    for (const { iface, podUid, signs } of looks) {
      const life = lifeOf({ ...signs, isReplaced: isReplaced(iface, byPod.get(podUid) ?? []) });
      const was = iface.orphaned;
      if (life === 'ended') ended.add(iface.generation);
      if (life === 'alive') iface.orphaned = false;
      else if (ended.has(iface.generation) && this.#ended.has(iface.generation)) iface.orphaned = true;
      if (iface.orphaned !== was) changed.push(iface);
    }
    this.#ended = ended;
    if (changed.length > 0) this.#o.onChanged(changed);
  }

  close(): void {
    if (this.#noting) clearImmediate(this.#noting);
  }

  /** Reads the signs of every bound interface, and stores where its pod was seen. */
  #look(): Look[] {
    const { registry, store } = this.#o;
    const sources: Sources = { ...this.#o, cgroups: this.#cgroups() };
    this.cgroupPods = sources.cgroups;
    const looks: Look[] = [];
    for (const iface of registry.allLive()) {
      if (!iface.binding) continue;
      const { signs, seen } = signsOf(iface.binding, iface.podSeen, sources);
      const { cgroup, record, folder } = iface.podSeen;
      const isNews = seen.cgroup !== cgroup || seen.record !== record || seen.folder !== folder;
      iface.podSeen = seen;
      if (isNews) store.save(storedOf(iface));
      looks.push({ iface, podUid: iface.binding.podUid, signs });
    }
    return looks;
  }

  /** null: there is no complete listing. The collector's own pod has a cgroup, so none is no answer. */
  #cgroups(): ReadonlySet<string> | null {
    if (this.#o.cgroupRoot === '') return null;
    try {
      const found = listPodCgroups(this.#o.cgroupRoot);
      return found.length > 0 && found.length < MAX_POD_CGROUPS ? new Set(found.map(({ podUid }) => podUid)) : null;
    } catch (error) {
      this.#o.onProblem('', `the cgroups of pods: ${(error as Error).message}`, error);
      return null;
    }
  }
}
