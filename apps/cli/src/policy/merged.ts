/**
 * Whether policies that are each right also hold together on the pods that there are: more rules on one thing than the kernel holds is
 * refused when it is applied, and not later on some node. Pure.
 */

import { compileSet, containersNamed, mergeSelected, type NamedPolicy, selects, selectsPod } from '@bailiff/runtime';
import type { PodIdentity } from '@bailiff/schemas';

/** Any key does: only bounds are looked at. */
const KEY = new Uint8Array(16);

/** @throws PolicyError POLICY_LIMIT */
export function checkMerged(
  policies: readonly NamedPolicy[],
  changed: ReadonlySet<string>,
  pods: readonly PodIdentity[],
): void {
  const seen = new Set<string>();
  for (const pod of pods) {
    const holding = policies.filter((named) => selectsPod(named, pod));
    if (!holding.some(({ key }) => changed.has(key))) continue;
    for (const container of [null, ...containersNamed(holding, pod)]) {
      const mine = holding.filter((named) => selects(named, pod, container));
      // Pods with the same policies have the same set: ten thousand pods are a handful of them.
      const name = mine.map(({ key }) => key).join(' ');
      if (mine.length === 0 || seen.has(name)) continue;
      seen.add(name);
      compileSet(mergeSelected(mine), 1, KEY);
    }
  }
}
