/** Status of each runtime policy on this node: in force, or refused with a reason. */
import { clipReason, type RuntimePolicyStatus, type RuntimeStatus } from '@bailiff/schemas';
import type { Refusal, Subject } from './desired.ts';
import type { Policies } from './policies.ts';

/** Limit of refused subjects in a status. */
export const MAX_REFUSED_SUBJECTS = 64;

export type RefusedSubjects = Required<Pick<RuntimeStatus, 'refusedSubjects' | 'refusedSubjectsOmitted'>>;

/** Pods and containers that keep their current set, as many as fit into a status. */
export function refusedSubjects(refusals: readonly Refusal[]): RefusedSubjects {
  const listed = refusals.slice(0, MAX_REFUSED_SUBJECTS);
  return {
    refusedSubjects: listed.map(({ podUid, container, reason }) => ({ podUid, container, reason: clipReason(reason) })),
    refusedSubjectsOmitted: refusals.length - listed.length,
  };
}

export const MAX_POLICY_STATUSES = 512;
/** Bytes of JSON for the policies of a status. */
export const MAX_POLICIES_BYTES = 128 * 1024;

/** The policies that fit. If some do not, refused ones come first: readers look for them. */
export function fitPolicies(
  policies: readonly RuntimePolicyStatus[],
): Pick<RuntimeStatus, 'policies' | 'policiesOmitted'> {
  const kept: RuntimePolicyStatus[] = [];
  let bytes = 0;
  for (const one of [...policies].sort((a, b) => Number(b.state === 'refused') - Number(a.state === 'refused'))) {
    const fitted = { ...one, reason: clipReason(one.reason) };
    bytes += Buffer.byteLength(JSON.stringify(fitted)) + 1;
    if (bytes > MAX_POLICIES_BYTES || kept.length >= MAX_POLICY_STATUSES) break;
    kept.push(fitted);
  }
  if (kept.length === policies.length)
    return { policies: policies.map((one) => ({ ...one, reason: clipReason(one.reason) })), policiesOmitted: 0 };
  return { policies: kept, policiesOmitted: policies.length - kept.length };
}

export function policyStatuses(
  policies: Policies,
  subjects: readonly Subject[],
  refusals: readonly Refusal[],
): RuntimePolicyStatus[] {
  const counts = new Map<string, number>();
  for (const subject of subjects) for (const key of subject.policies) counts.set(key, (counts.get(key) ?? 0) + 1);
  const reasons = new Map<string, string>();
  for (const { policies: keys, reason } of refusals)
    for (const key of keys) if (!reasons.has(key)) reasons.set(key, reason);
  const statuses: RuntimePolicyStatus[] = [];
  for (const { key, policy } of policies.all) {
    if (policies.refused.has(key)) continue;
    const reason = reasons.get(key) ?? '';
    const state = reason === '' ? 'in-force' : 'refused';
    statuses.push({ key, revision: policy.revision, state, reason, subjects: counts.get(key) ?? 0 });
  }
  for (const [key, { revision, reason }] of policies.refused)
    statuses.push({ key, revision: revision ?? 0, state: 'refused', reason, subjects: counts.get(key) ?? 0 });
  return statuses;
}

export interface PolicyReportOptions {
  /** The status changed. */
  onStatus(): void;
  /** A reason that the last pass did not have. */
  onRefusal(reason: string): void;
}

/** The statuses and refusals of the last pass. */
export class PolicyReport {
  readonly #o: PolicyReportOptions;
  refusals: readonly Refusal[] = [];
  /** Status of each policy on this node. */
  statuses: readonly RuntimePolicyStatus[] = [];
  /** Pods and containers whose desired set is impossible. */
  refused: RefusedSubjects = { refusedSubjects: [], refusedSubjectsOmitted: 0 };

  constructor(options: PolicyReportOptions) {
    this.#o = options;
  }

  /** Stores the refusals of a pass, and reports their new reasons. */
  refuse(refusals: readonly Refusal[]): void {
    const before = new Set(this.refusals.map(({ reason }) => reason));
    for (const reason of new Set(refusals.map((one) => one.reason))) if (!before.has(reason)) this.#o.onRefusal(reason);
    this.refusals = refusals;
  }

  update(policies: Policies, subjects: readonly Subject[]): void {
    const statuses = policyStatuses(policies, subjects, this.refusals);
    const refused = refusedSubjects(this.refusals);
    if (JSON.stringify([statuses, refused]) === JSON.stringify([this.statuses, this.refused])) return;
    this.statuses = statuses;
    this.refused = refused;
    this.#o.onStatus();
  }
}
