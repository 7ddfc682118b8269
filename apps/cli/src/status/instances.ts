/** What the instances of the services refuse of the configuration. Pure. */
import type { InstanceStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { plural } from '../shared/text/plural.ts';
import type { Problem } from './report.ts';

/** An instance that has said nothing for this long is gone, or cannot say: six times the ordinary interval. */
const STALE_MS = 60_000;

/** Instances that run: they have not ended, and their status is fresh. */
export function speaking(instances: readonly InstanceStatus[], nowMs: number): InstanceStatus[] {
  return instances.filter(
    ({ updatedAt, stoppedAt }) => stoppedAt === undefined && nowMs - Date.parse(updatedAt) <= STALE_MS,
  );
}

/** Each refused value once a service, whatever number of its instances refuses it. */
export function refusalProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const refused = new Map<string, { service: string; key: string; reason: string; count: number }>();
  for (const { service, configRefused } of speaking(instances, nowMs)) {
    for (const { key, reason } of configRefused) {
      const id = `${service} ${key} ${reason}`;
      const known = refused.get(id) ?? { service, key, reason, count: 0 };
      refused.set(id, { ...known, count: known.count + 1 });
    }
  }
  return [...refused.values()].map(({ service, key, reason, count }): Problem => {
    const all = speaking(instances, nowMs).filter((one) => one.service === service).length;
    const some = count < all ? ` (${count} of ${plural(all, 'instance')})` : '';
    return {
      severity: 'shout',
      node: service,
      text: `refuses ${key}${some}, the last good value holds: ${reason.split('\n').at(-1)}`,
      remedy: `bailiff config get ${key}; bailiff config rollback ${key}`,
      exitCode: EXIT.badConfiguration,
    };
  });
}
