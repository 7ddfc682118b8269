/**
 * Decides the next step of a leader election from the observed lease. Pure. Clocks of machines are
 * not compared: a holder counts as gone when its lease has not changed for its whole duration on
 * our monotonic clock.
 */
import type { Lease } from './types.ts';

export interface LeaseTiming {
  /** How long others wait before they take over an unrenewed lease. */
  durationMs: number;
  /** A leader that could not renew for this long steps down; less than `durationMs`. */
  renewDeadlineMs: number;
  /** Wait between attempts. */
  retryMs: number;
}

/** Defaults of the Kubernetes control plane. */
export const DEFAULT_LEASE_TIMING: LeaseTiming = { durationMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000 };

/** The last observed version of the lease. */
export interface Observed {
  resourceVersion: string;
  /** Our monotonic clock. */
  sinceMs: number;
}

export type LeaseStep = { step: 'create' } | { step: 'acquire' } | { step: 'renew' } | { step: 'wait' };

/** Next step of `identity`. `lease` null: it does not exist. */
export function nextStep(lease: Lease | null, identity: string, observed: Observed | null, nowMs: number): LeaseStep {
  if (lease === null) return { step: 'create' };
  const holder = lease.spec?.holderIdentity ?? '';
  if (holder === identity) return { step: 'renew' };
  if (holder === '') return { step: 'acquire' };
  const durationMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1000;
  const unchanged = observed !== null && observed.resourceVersion === lease.metadata.resourceVersion;
  if (unchanged && nowMs - observed.sinceMs > durationMs) return { step: 'acquire' };
  return { step: 'wait' };
}

/** Records a read lease with the time when this version was first seen. */
export function observe(lease: Lease, before: Observed | null, nowMs: number): Observed {
  const { resourceVersion } = lease.metadata;
  return before?.resourceVersion === resourceVersion ? before : { resourceVersion, sinceMs: nowMs };
}

/** RFC 3339 with microseconds (MicroTime of the API server). */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '000Z');
}

/** Spec to write for a step. */
export function leaseSpec(
  lease: Lease | null,
  identity: string,
  step: 'create' | 'acquire' | 'renew' | 'release',
  timing: LeaseTiming,
  wallMs: number,
): NonNullable<Lease['spec']> {
  const now = microTime(wallMs);
  const before = lease?.spec;
  const transitions = before?.leaseTransitions ?? 0;
  if (step === 'release') return { ...before, holderIdentity: '', leaseDurationSeconds: 1, renewTime: now };
  return {
    holderIdentity: identity,
    leaseDurationSeconds: Math.max(1, Math.ceil(timing.durationMs / 1000)),
    acquireTime: step === 'renew' ? (before?.acquireTime ?? now) : now,
    renewTime: now,
    leaseTransitions: step === 'acquire' ? transitions + 1 : transitions,
  };
}
