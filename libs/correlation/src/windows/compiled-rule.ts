/**
 * A correlation rule in the form that the engine evaluates, and the value that a `value_count` rule
 * counts. Pure. rules.ts compiles it; windows read their timespan, threshold and field from it.
 */
import { createHash } from 'node:crypto';
import type { CorrelationRule, Selection } from '@bailiff/policy';
import type { GroupBy, Level, ProjectedViolation, RuleType } from '@bailiff/schemas';

export type ValueField = Extract<CorrelationRule, { type: 'value_count' }>['field'];

export interface CompiledRule {
  readonly name: string;
  readonly type: RuleType;
  readonly level: Level;
  readonly groupBy: GroupBy;
  readonly timespanMicros: number;
  readonly cooldownMicros: number;
  /** Number of packets, distinct values or stages that produces a verdict. */
  readonly threshold: number;
  /** One for the count types, two to eight for the temporal ones. */
  readonly stages: readonly Selection[];
  /** null unless the type is `value_count`. */
  readonly field: ValueField | null;
  readonly description: string;
  readonly tags: readonly string[];
  /** Two versions of a rule with the same shape share their windows (rules.ts). */
  readonly shape: string;
}

/** A window keeps up to 256 values. A longer value is counted by its digest. */
const MAX_VALUE_CHARS = 64;

/** The value that a value_count rule counts; empty if the violation has none. */
export function countedValue(field: ValueField, violation: ProjectedViolation): string {
  const value = rawValue(field, violation);
  return value.length <= MAX_VALUE_CHARS ? value : createHash('sha256').update(value).digest('base64');
}

function rawValue(field: ValueField, violation: ProjectedViolation): string {
  if (field === 'vector') return violation.vector;
  if (field === 'policyRule') return violation.kind === 'lsm' ? violation.vector : '';
  if (field === 'operation' || field === 'executable' || field === 'subject') return violation.operation?.[field] ?? '';
  const sample = violation.sample;
  if (sample === null) return '';
  if (field === 'destinationPort') return sample.destinationPort === 0 ? '' : String(sample.destinationPort);
  return sample[field];
}
