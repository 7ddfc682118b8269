/** Configuration that service instances refuse. Pure. */
import type { InstanceStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { plural } from '../status/text.ts';
import { type Problem, shout } from './problem.ts';

/** An instance without a status for this long is considered gone: six times the status interval. */
const STALE_MS = 60_000;

/** Instances that run: not stopped, and with a fresh status. */
export function activeInstances<T extends InstanceStatus>(instances: readonly T[], nowMs: number): T[] {
  return instances.filter(
    ({ updatedAt, stoppedAt }) => stoppedAt === undefined && nowMs - Date.parse(updatedAt) <= STALE_MS,
  );
}

/** A field of the leading ipam-sync; undefined without one. Two report it while the lease changes hands. */
export function reportedByLeader<K extends 'taints' | 'omittedPods' | 'claimedMembers'>(
  instances: readonly InstanceStatus[],
  nowMs: number,
  field: K,
): InstanceStatus[K] {
  const reported = activeInstances(instances, nowMs).filter(
    (instance) => instance.service === 'ipam-sync' && instance[field] !== undefined,
  );
  return reported.sort((a, b) => Date.parse(b.updatedAt) - Date.parse(a.updatedAt))[0]?.[field];
}

/** The leading ipam-sync names custom resources as `RuntimePolicy/no-shell`, and kinds that it may not read. */
function resourceProblem(service: string, key: string, reason: string): Pick<Problem, 'text' | 'remedy'> {
  const [kind = '', name] = key.split('/');
  const text = `does not accept ${key}, what was in force before stays: ${reason.split('\n').at(-1)}`;
  if (name === undefined) return { text, remedy: `let ${service} list and watch this kind: docs/custom-resources.md` };
  return { text, remedy: `kubectl describe ${kind.toLowerCase()} ${name}` };
}

const isKey = (text: string): boolean => !text.includes('/') && text.includes('.');

const WRITE_ROLE =
  'give its account the role that `bailiff responder rbac` prints: docs/install.md#fewer-permissions-for-the-responder';

/** Responses that will fail. All replicas have the same account. */
export function rightsProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const missing = new Map<string, Set<string>>();
  for (const { service, missingRights = [] } of activeInstances(instances, nowMs))
    if (missingRights.length > 0) missing.set(service, new Set([...(missing.get(service) ?? []), ...missingRights]));
  return [...missing].map(([service, rights]) => {
    const text = `may not ${[...rights].join(', ')} at the API server: responses of the policies in force fail`;
    return shout(service, text, WRITE_ROLE, EXIT.badConfiguration, 'services');
  });
}

/** One reader does not advise a change of what all others apply. */
export const REFUSED_BY_SOME =
  'others accept this value, and a rollback would take it from them too: compare version and signers of its process with theirs';

/** One problem per service and refused value, independent of the number of instances. */
export function refusalProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const refused = new Map<string, { service: string; key: string; reason: string; count: number }>();
  for (const { service, configRefused } of activeInstances(instances, nowMs)) {
    for (const { key, reason } of configRefused) {
      const id = `${service} ${key} ${reason}`;
      const known = refused.get(id) ?? { service, key, reason, count: 0 };
      refused.set(id, { ...known, count: known.count + 1 });
    }
  }
  return [...refused.values()].map(({ service, key, reason, count }): Problem => {
    const all = activeInstances(instances, nowMs).filter((one) => one.service === service);
    const some = count < all.length ? ` (${count} of ${plural(all.length, 'instance')})` : '';
    // Instances of different versions refuse one value for different reasons.
    const isAccepted = all.some(({ configRefused }) => configRefused.every((one) => one.key !== key));
    return {
      severity: 'shout',
      area: 'configuration',
      node: service,
      ...(isKey(key)
        ? {
            text: `refuses ${key}${some}, the last good value stays in force: ${reason.split('\n').at(-1)}`,
            remedy: isAccepted ? REFUSED_BY_SOME : `bailiff config get ${key}; bailiff config rollback ${key}`,
          }
        : resourceProblem(service, key, reason)),
      exitCode: EXIT.badConfiguration,
    };
  });
}
