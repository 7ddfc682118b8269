/**
 * Effective configuration of one interface: the mode of each vector after merging cluster,
 * namespace and workload, and the ends of disarm and quarantine. Pure. Wall-clock times are
 * converted to CLOCK_BOOTTIME here and nowhere else.
 */
import { type VectorModes, vectorModes } from '@bailiff/bpf';
import {
  type Disarm,
  effectiveMode,
  latestDisarm,
  type SpoofCluster,
  type SpoofScoped,
  TUNABLE_VECTORS,
} from '@bailiff/policy';

const TUNABLE: ReadonlySet<string> = new Set(TUNABLE_VECTORS);

/** @param narrower scopes below the cluster, the widest first */
export function modesFor(cluster: SpoofCluster, narrower: readonly (SpoofScoped | undefined)[] = []): VectorModes {
  const scopes = [cluster, ...narrower];
  return vectorModes((vector) => (TUNABLE.has(vector) ? effectiveMode(vector, scopes) : 'enforce'));
}

/**
 * Converts a wall-clock time to CLOCK_BOOTTIME nanoseconds by the current offset. 0n: past, or not
 * a time.
 */
export function toBoottimeNs(untilIso: string, nowMs: number, bootNowNs: bigint): bigint {
  const untilMs = Date.parse(untilIso);
  if (Number.isNaN(untilMs) || untilMs <= nowMs) return 0n;
  return bootNowNs + BigInt(Math.round((untilMs - nowMs) * 1e6));
}

/** Latest end of the disarms that cover an interface; 0n: none. */
export function auditUntilNs(disarms: readonly (Disarm | undefined)[], nowMs: number, bootNowNs: bigint): bigint {
  const latest = disarms[latestDisarm(disarms, nowMs)];
  return latest ? toBoottimeNs(latest.until, nowMs, bootNowNs) : 0n;
}
