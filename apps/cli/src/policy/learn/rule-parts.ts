/** Parts of which proposed rules are built: observed operations, rules with their comments, and texts about both. Pure. */
import type { RuntimePolicyInput } from '@bailiff/policy';
import type { OperationName } from '@bailiff/runtime';
import type { OperationSample } from '@bailiff/schemas';
import { named } from '../../shared/text/plural.ts';

/** An operation that was audited, and how often it is known to have happened. */
export interface Learned {
  operation: Pick<OperationSample, 'operation' | 'subject' | 'address' | 'port' | 'protocol' | 'executable' | 'comm'>;
  times: number;
}

export type RuleInput = NonNullable<RuntimePolicyInput['rules']>[number];

/** A rule with what is said of it: above it, and beside entries of its lists. */
export interface ProposedRule {
  rule: RuleInput;
  comments: string[];
  /** By the text of an entry. */
  beside: Map<string, string>;
}

/** Equal operations, by whatever programs. */
export interface Entry {
  op: OperationName;
  subject: string;
  learned: Learned[];
  times: number;
}

const MAX_PROGRAMS = 3;

export const programOf = ({ executable, comm }: Learned['operation']) => executable || comm || '?';

/** `12 times, by /usr/bin/nginx, /bin/sh and 2 more` */
export function saidOf(times: number, programs: Iterable<string>): string {
  const all = [...new Set(programs)].sort();
  return `${times === 1 ? 'once' : `${times} times`}, by ${named(all, MAX_PROGRAMS)}`;
}

export function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, index) =>
    list.slice(index * size, (index + 1) * size),
  );
}

export function saidOfEntries(entries: readonly Entry[]): string {
  const times = entries.reduce((sum, entry) => sum + entry.times, 0);
  return saidOf(
    times,
    entries.flatMap(({ learned }) => learned.map((one) => programOf(one.operation))),
  );
}

/** One rule for entries that have one form. */
export function allRule(name: string, match: Partial<RuleInput>, entries: readonly Entry[]): ProposedRule {
  return {
    rule: { name, action: 'allow', ...match } as RuleInput,
    comments: [saidOfEntries(entries)],
    beside: new Map(),
  };
}
