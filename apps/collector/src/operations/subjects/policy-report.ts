/** The part of the node's status about runtime policies, kept from one pass to the next. */
import type { RuntimePolicyStatus } from '@bailiff/schemas';
import type { Refusal, Subject } from './desired.ts';
import type { Policies } from './policies.ts';
import { policyStatuses, type RefusedSubjects, refusedSubjects } from './policy-status.ts';

export interface PolicyReportOptions {
  /** The status changed. */
  onStatus(): void;
  /** A reason that the last pass did not have. */
  onRefusal(reason: string): void;
}

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
