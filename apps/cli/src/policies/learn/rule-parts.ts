/**
 * Building blocks of proposed rules: observed operations, rules with comments, and usage texts.
 * Pure.
 */
import type { RuntimePolicyInput } from '@bailiff/policy';
import { shortList } from '@bailiff/response';
import type { OperationName } from '@bailiff/runtime';
import type { OperationSample } from '@bailiff/schemas';

/** An audited operation, and how often it was sampled. */
export interface Learned {
  operation: Pick<OperationSample, 'operation' | 'subject' | 'address' | 'port' | 'protocol' | 'executable' | 'comm'>;
  times: number;
}

export type RuleInput = NonNullable<RuntimePolicyInput['rules']>[number];

/** A rule with its comments: one block above it, and one per list entry. */
export interface ProposedRule {
  rule: RuleInput;
  comments: string[];
  /** By the entry's text. */
  beside: Map<string, string>;
}

/** Equal operations of any programs. */
export interface Entry {
  op: OperationName;
  subject: string;
  learned: Learned[];
  times: number;
}

const MAX_PROGRAMS = 3;

export const programOf = ({ executable, comm }: Learned['operation']) => executable || comm || '?';

/** `12 times, by /usr/bin/nginx, /bin/sh and 2 more` */
export function usageText(times: number, programs: Iterable<string>): string {
  const all = [...new Set(programs)].sort();
  return `${times === 1 ? 'once' : `${times} times`}, by ${shortList(all, MAX_PROGRAMS)}`;
}

export function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, index) =>
    list.slice(index * size, (index + 1) * size),
  );
}

export function usageOfEntries(entries: readonly Entry[]): string {
  const times = entries.reduce((sum, entry) => sum + entry.times, 0);
  return usageText(
    times,
    entries.flatMap(({ learned }) => learned.map((one) => programOf(one.operation))),
  );
}

/** A rule for entries of one form. */
export function allRule(name: string, match: Partial<RuleInput>, entries: readonly Entry[]): ProposedRule {
  return {
    rule: { name, action: 'allow', ...match } as RuleInput,
    comments: [usageOfEntries(entries)],
    beside: new Map(),
  };
}
