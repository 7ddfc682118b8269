/**
 * Checks that valid policies also compile together for the existing pods, so that an excess of
 * rules is refused by `apply` instead of by a node later. Pure.
 */

import { compileSet, containersNamed, mergeSelected, type NamedPolicy, selects, selectsPod } from '@bailiff/runtime';
import type { PodIdentity } from '@bailiff/schemas';

/** Only limits are checked, so any key will do. */
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
      // Pods with the same policies share a set: ten thousand pods have only a few.
      const name = mine.map(({ key }) => key).join(' ');
      if (mine.length === 0 || seen.has(name)) continue;
      seen.add(name);
      compileSet(mergeSelected(mine), 1, KEY);
    }
  }
}
