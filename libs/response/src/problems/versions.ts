/**
 * Collectors of an earlier release than the services: what is new since then is not enforced on their
 * nodes, and their status cannot name it. Pure. Only services are believed about the release of the
 * cluster, because a node could claim any.
 */
import type { NodeStatus } from '@bailiff/schemas';
import { quoted } from '../status/text.ts';
import type { ClusterFacts } from './facts.ts';
import { activeInstances } from './instances.ts';
import { notEnforced, type Problem } from './problem.ts';

const FINISH =
  'finish the upgrade: `kubectl -n bailiff-system rollout status daemonset/bailiff-collector`; see docs/operations.md#upgrade';

/** Patch versions are compatible. */
function releaseOf(version: string): [major: number, minor: number] | null {
  const [, major, minor] = /^v?(\d{1,6})\.(\d{1,6})\./.exec(version) ?? [];
  return major === undefined ? null : [Number(major), Number(minor)];
}

const isBelow = (one: readonly [number, number], other: readonly [number, number]): boolean =>
  one[0] < other[0] || (one[0] === other[0] && one[1] < other[1]);

export function versionProblems(
  node: string,
  { collectorVersion }: Pick<NodeStatus, 'collectorVersion'>,
  { instances, nowMs }: Pick<ClusterFacts, 'instances' | 'nowMs'>,
): Problem[] {
  const services = activeInstances(instances, nowMs).flatMap(({ version }) => {
    const release = releaseOf(version);
    return release ? [{ version, release }] : [];
  });
  const [newest] = services.sort(
    (a, b) => Number(isBelow(a.release, b.release)) - Number(isBelow(b.release, a.release)),
  );
  const own = releaseOf(collectorVersion);
  if (!newest || !own || !isBelow(own, newest.release)) return [];
  const text = `its collector is of version ${quoted(collectorVersion)}, the services of ${newest.version}: what is new since then is not enforced there`;
  return [notEnforced(node, text, FINISH, 'nodes')];
}
