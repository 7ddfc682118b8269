/**
 * Scopes: which keys bear on a pod, widest first, and whose word holds. Pure; collector, responder and command ask the same.
 *
 * Names come from Kubernetes and may be anything the API server takes: no key is refused here, one that nobody can write is never found.
 */

import { defaultMode, type Mode, type Vector } from '@bailiff/vocabulary';
import type { Disarm, SpoofCluster, SpoofScoped } from '../documents/spoof.ts';
import { ConfigError, type ConfigKey, formatConfigKey } from './keys.ts';

/** Names under which a kind is read at a scope, where it is not the operator's to choose. */
const FIXED_NAMES: Readonly<Record<string, string>> = {
  'spoof.cluster': 'default',
  'spoof.namespace': 'default',
  'disarm.cluster': 'all',
  'disarm.namespace': 'all',
};

/** A key that nobody reads would look as if it were in force. @throws ConfigError CONFIG_KEY, with the right one */
export function requireReadKey(key: ConfigKey): void {
  const name = FIXED_NAMES[`${key.kind}.${key.scope}`];
  if (name === undefined || key.name === name) return;
  const right = formatConfigKey({ ...key, name });
  const wrong = formatConfigKey(key);
  throw new ConfigError('CONFIG_KEY', `"${wrong}" is read by nobody: at this scope the name is "${name}" (${right})`);
}

const token = (name: string): string => name.replaceAll('.', '_');

export const SPOOF_CLUSTER_KEY = 'spoof.cluster._.default';

/**
 * Keys of the narrower spoof policies, widest first. `workload` is the name at the top of a pod's confirmed owner chain; null when there is
 * none.
 */
export function spoofScopeKeys(namespace: string, workload: string | null): string[] {
  const key = `spoof.namespace.${token(namespace)}.default`;
  return workload === null ? [key] : [key, `spoof.workload.${token(namespace)}.${token(workload)}`];
}

/** Keys of the break-glasses that cover a place; without a namespace those of the whole node. */
export function disarmKeys(node: string | null, namespace: string | null): string[] {
  return [
    'disarm.cluster._.all',
    ...(node === null ? [] : [`disarm.node._.${token(node)}`]),
    ...(namespace === null ? [] : [`disarm.namespace.${token(namespace)}.all`]),
  ];
}

/** Index of the last, so the narrowest, of several that says something; -1 when none does. */
export function lastSaid(values: readonly unknown[]): number {
  return values.findLastIndex((value) => value !== undefined);
}

const modeIn = (scope: SpoofScoped | undefined, vector: Vector): Mode | undefined =>
  (scope?.modes as Partial<Record<Vector, Mode>> | undefined)?.[vector];

/** Which scope, widest first, decides the mode of a vector; -1: nobody says anything and what is built in holds. */
export function modeScope(vector: Vector, scopes: readonly (SpoofScoped | undefined)[]): number {
  return lastSaid(scopes.map((scope) => modeIn(scope, vector)));
}

/** Mode of a vector after merging scopes, widest first; undefined scopes are skipped. */
export function effectiveMode(vector: Vector, scopes: readonly (SpoofScoped | undefined)[]): Mode {
  return modeIn(scopes[modeScope(vector, scopes)], vector) ?? defaultMode(vector);
}

export const SAMPLING_FIELDS = ['burst', 'perSecond'] as const;
export type SamplingField = (typeof SAMPLING_FIELDS)[number];
/** Samples that may leave at once, and a second in the long run. */
export type Sampling = Record<SamplingField, number>;

/** Which narrower scope decides a field of the sampling; -1: the cluster's holds. */
export function samplingScope(field: SamplingField, scopes: readonly (SpoofScoped | undefined)[]): number {
  return lastSaid(scopes.map((scope) => scope?.sampling?.[field]));
}

/** Sampling of an interface by the cluster's policy and the narrower ones, widest first. */
export function effectiveSampling(cluster: SpoofCluster, scopes: readonly (SpoofScoped | undefined)[]): Sampling {
  const of = (field: SamplingField) =>
    scopes[samplingScope(field, scopes)]?.sampling?.[field] ?? cluster.sampling[field];
  return { burst: of('burst'), perSecond: of('perSecond') };
}

/** Of several break-glasses the one that ends last, if it is not over; the index, -1 when all are. */
export function latestDisarm(disarms: readonly (Disarm | undefined)[], nowMs: number): number {
  let latest = -1;
  let latestMs = nowMs;
  disarms.forEach((disarm, index) => {
    const untilMs = disarm ? Date.parse(disarm.until) : Number.NaN;
    if (untilMs > latestMs) [latest, latestMs] = [index, untilMs];
  });
  return latest;
}
