export * from './effects/quarantine.ts';
export * from './effects/rbac.ts';

export * from './guards/confirmed-owner.ts';
export {
  type ActionEntry,
  type Decision,
  type GuardLimits,
  needsReservation,
  type RefusalCode,
} from './guards/decision.ts';
export * from './guards/facts.ts';
export * from './guards/guards.ts';
export * from './planning/ids.ts';
export * from './planning/plan.ts';
export * from './planning/policy-history.ts';
export * from './problems/certificates.ts';
export * from './problems/cni.ts';
export * from './problems/dead-letters.ts';
export { type DisarmsOfNode, isDisarmedThere, namespacesText, unendedDisarms } from './problems/disarms.ts';
export * from './problems/enforcement.ts';
export * from './problems/facts.ts';
export * from './problems/fill.ts';
export * from './problems/instances.ts';
export * from './problems/judge.ts';
export * from './problems/nodes.ts';
export {
  AREAS,
  type Area,
  alike,
  CODE_ORDER,
  type Problem,
  type ProblemCode,
  weigh,
} from './problems/problem.ts';
export * from './problems/refused-by-readers.ts';
export * from './problems/runtime.ts';
export * from './problems/services.ts';
export * from './problems/taints.ts';
export * from './records/ledger.ts';
export * from './records/overdue.ts';
export * from './records/records.ts';
export type { TaskState } from './records/task-state.ts';
export * from './status/policy-places.ts';
export * from './status/service-health.ts';
export * from './status/service-status.ts';
export * from './status/text.ts';
