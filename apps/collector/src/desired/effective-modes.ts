/**
 * What operators' configuration comes to for one interface: the mode of each vector after merging cluster, namespace and
 * workload, until when a break-glass holds, and until when a quarantine. Pure; wall times become CLOCK_BOOTTIME here, once.
 */
import { VECTORS, type VectorModes } from '@bailiff/bpf';
import { type Disarm, effectiveMode, latestDisarm, type SpoofCluster, type SpoofScoped } from '@bailiff/policy';

/** Quarantine and unknown-interface are not tuned by vector: a quarantine always drops, and `unknown` has its own setting. */
const FIXED = new Set(['quarantine-ingress', 'quarantine-egress', 'unknown-interface']);

/** The mode of every vector for one interface; `narrower` scopes, widest first. */
export function modesFor(cluster: SpoofCluster, narrower: readonly (SpoofScoped | undefined)[] = []): VectorModes {
  const scopes = [cluster, ...narrower];
  const modeOf = (vector: (typeof VECTORS)[number]) => (FIXED.has(vector) ? 'enforce' : effectiveMode(vector, scopes));
  return Object.fromEntries(VECTORS.map((vector) => [vector, modeOf(vector)])) as VectorModes;
}

/** A wall-clock time as CLOCK_BOOTTIME nanoseconds, by the offset between the two now. 0n when it is past or not a time. */
export function toBoottimeNs(untilIso: string, nowMs: number, bootNowNs: bigint): bigint {
  const untilMs = Date.parse(untilIso);
  if (Number.isNaN(untilMs) || untilMs <= nowMs) return 0n;
  return bootNowNs + BigInt(Math.round((untilMs - nowMs) * 1e6));
}

/** The latest end among the break-glasses that cover an interface; 0n when none does. */
export function auditUntilNs(disarms: readonly (Disarm | undefined)[], nowMs: number, bootNowNs: bigint): bigint {
  const latest = disarms[latestDisarm(disarms, nowMs)];
  return latest ? toBoottimeNs(latest.until, nowMs, bootNowNs) : 0n;
}
