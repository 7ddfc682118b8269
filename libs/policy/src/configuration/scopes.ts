/**
 * Scopes of the configuration: which keys apply to a pod, widest first, and which one decides.
 * Pure. Collector, responder and command use it.
 *
 * Names come from Kubernetes and may be anything that the API server accepts. No key is refused
 * here; a key that cannot be written is not found.
 */

import { defaultMode, type Mode, type Vector } from '@bailiff/vocabulary';
import type { Disarm, SpoofCluster, SpoofScoped } from '../documents/spoof.ts';
import { ConfigError, type ConfigKey, formatConfigKey } from './keys.ts';

/** Fixed names of kinds at a scope where the operator does not choose one. */
const FIXED_NAMES: Readonly<Record<string, string>> = {
  'spoof.cluster': 'default',
  'spoof.namespace': 'default',
  'disarm.cluster': 'all',
  'disarm.namespace': 'all',
};

/**
 * Refuses a key that is never read, because it would seem to be in force. @throws ConfigError
 * CONFIG_KEY, with the right key
 */
export function requireReadKey(key: ConfigKey): void {
  const name = FIXED_NAMES[`${key.kind}.${key.scope}`];
  if (name === undefined || key.name === name) return;
  const right = formatConfigKey({ ...key, name });
  const wrong = formatConfigKey(key);
  throw new ConfigError('CONFIG_KEY', `"${wrong}" is never read: at this scope the name is "${name}" (${right})`);
}

const token = (name: string): string => name.replaceAll('.', '_');

export const SPOOF_CLUSTER_KEY = 'spoof.cluster._.default';

/**
 * Keys of the narrower spoof policies, widest first. `workload` is the name at the top of the pod's
 * confirmed owner chain; null if there is none.
 */
export function spoofScopeKeys(namespace: string, workload: string | null): string[] {
  const key = `spoof.namespace.${token(namespace)}.default`;
  return workload === null ? [key] : [key, `spoof.workload.${token(namespace)}.${token(workload)}`];
}

/**
 * Keys of the disarms that apply to a node and namespace. Without a namespace: those of the whole
 * node.
 */
export function disarmKeys(node: string | null, namespace: string | null): string[] {
  return [
    'disarm.cluster._.all',
    ...(node === null ? [] : [`disarm.node._.${token(node)}`]),
    ...(namespace === null ? [] : [`disarm.namespace.${token(namespace)}.all`]),
  ];
}

/** Index of the last value that is set, which is the narrowest. -1 if none is set. */
export function lastSet(values: readonly unknown[]): number {
  return values.findLastIndex((value) => value !== undefined);
}

const modeIn = (scope: SpoofScoped | undefined, vector: Vector): Mode | undefined =>
  (scope?.modes as Partial<Record<Vector, Mode>> | undefined)?.[vector];

/**
 * Index of the scope, widest first, that decides the mode of a vector. -1: the built-in mode
 * applies.
 */
export function modeScope(vector: Vector, scopes: readonly (SpoofScoped | undefined)[]): number {
  return lastSet(scopes.map((scope) => modeIn(scope, vector)));
}

/** Mode of a vector after merging scopes, widest first; undefined scopes are skipped. */
export function effectiveMode(vector: Vector, scopes: readonly (SpoofScoped | undefined)[]): Mode {
  return modeIn(scopes[modeScope(vector, scopes)], vector) ?? defaultMode(vector);
}

export const SAMPLING_FIELDS = ['burst', 'perSecond'] as const;
export type SamplingField = (typeof SAMPLING_FIELDS)[number];
/** Burst of samples, and samples per second in the long run. */
export type Sampling = Record<SamplingField, number>;

/** Index of the narrower scope that decides a sampling field. -1: the cluster's value applies. */
export function samplingScope(field: SamplingField, scopes: readonly (SpoofScoped | undefined)[]): number {
  return lastSet(scopes.map((scope) => scope?.sampling?.[field]));
}

/** Sampling of an interface from the cluster's policy and the narrower ones, widest first. */
export function effectiveSampling(cluster: SpoofCluster, scopes: readonly (SpoofScoped | undefined)[]): Sampling {
  const of = (field: SamplingField) =>
    scopes[samplingScope(field, scopes)]?.sampling?.[field] ?? cluster.sampling[field];
  return { burst: of('burst'), perSecond: of('perSecond') };
}

/** Index of the disarm that ends last, if it has not ended. -1 if all have ended. */
export function latestDisarm(disarms: readonly (Disarm | undefined)[], nowMs: number): number {
  let latest = -1;
  let latestMs = nowMs;
  disarms.forEach((disarm, index) => {
    const untilMs = disarm ? Date.parse(disarm.until) : Number.NaN;
    if (untilMs > latestMs) [latest, latestMs] = [index, untilMs];
  });
  return latest;
}
