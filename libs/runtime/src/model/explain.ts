/**
 * Explains a decision as text: `bailiff policy explain` prints it for a pod and an operation.
 *
 * Data path: merge.ts → here → CLI. Pure. It reports the decision of model.ts and decides nothing
 * itself.
 */
import { type OperationName, POSTURE_CLASSES, type PostureClass, type RuleAction } from '@bailiff/vocabulary';
import { EXTRA_UNRESOLVED } from '../compile/layout.ts';
import { postureOf, valueName } from '../sets/names.ts';
import type { Match, PolicySet, RuleIR } from '../sets/set.ts';
import { type Decision, decide, type Operation, type TaskFacts, unresolvable } from './model.ts';

export interface Explanation extends Decision {
  /** Vector of the violation: `<policy>/<rule>` or `<policy>/<class>-posture`. Null: none. */
  readonly decidedBy: string | null;
  /** One sentence. */
  readonly text: string;
}

export interface CellName {
  /** Key of the policy that the cell counts for. Null if no policy requested it. */
  readonly policy: string | null;
  /** `<policy>/<rule>`, `<policy>/<class>-posture` or `unresolved`: the vector of a violation. */
  readonly vector: string;
  readonly action: RuleAction;
}

/** Returns the meaning of a counter cell, by its index after `counter_base`. Null: the set has no such cell. */
export function cellName(set: PolicySet, cell: number): CellName | null {
  const rule = set.rules[cell];
  if (rule !== undefined)
    return { policy: rule.policy, vector: `${rule.policyName}/${rule.name}`, action: rule.action };
  const extra = cell - set.rules.length;
  if (extra >= EXTRA_UNRESOLVED + 2 || extra < 0) return null;
  const action = extra % 2 === 1 ? 'block' : 'audit';
  if (extra >= EXTRA_UNRESOLVED) return { policy: null, vector: 'unresolved', action };
  const name = POSTURE_CLASSES[extra >> 1] as PostureClass;
  const owner = set.postures[name][action];
  const vector = owner === null ? `${name}-posture` : `${owner.policyName}/${name}-posture`;
  return { policy: owner?.policy ?? null, vector, action };
}

function subjectOf(operation: Operation): string {
  if (operation.kind === 'path') return `${operation.op} of ${operation.path}`;
  if (operation.kind === 'unresolved')
    return postureOf(operation.op) === 'network'
      ? `${operation.op} to an address that no hook sees`
      : `${operation.op} of a path beyond the bound`;
  if (operation.kind === 'abstract') return `${operation.op} of @${operation.name}`;
  if (operation.kind === 'value') return `${operation.op} ${valueName(operation.op, operation.value)}`;
  const host = operation.address.includes(':') ? `[${operation.address}]` : operation.address;
  return `${operation.op} ${host}:${operation.port} (protocol ${operation.protocol})`;
}

const OUTCOME = { pass: 'passes', block: 'is blocked', kill: 'is blocked and its process killed' } as const;

function reasonOf(set: PolicySet, decision: Decision, decidedBy: string | null, op: OperationName): string {
  switch (decision.by) {
    case 'rule':
      return `rule ${decidedBy} denies it`;
    case 'alias-guard':
      return `it would create an alias of a path that ${decidedBy} denies`;
    case 'posture':
      return `no rule allows it and ${decidedBy} denies it`;
    case 'unresolved':
      return `onUnresolvable is ${unresolvable(set, op)}`;
    case 'allow': {
      const rule = decision.matched.find(({ action }) => action.startsWith('allow')) as RuleIR;
      return `rule ${rule.policyName}/${rule.name} allows it`;
    }
    case 'nothing': {
      const name = postureOf(op);
      return `no rule denies it${name === null ? '' : `, and no policy sets a posture for ${name}`}`;
    }
  }
}

/** Decides one operation and names the deciding rule. */
export function explain(set: PolicySet, operation: Operation, task: TaskFacts): Explanation {
  const decision = decide(set, operation, task);
  const last = decision.counted.at(-1);
  const isDecided = last !== undefined && decision.by !== 'allow' && decision.by !== 'nothing';
  const decidedBy = isDecided ? (cellName(set, last.cell)?.vector ?? null) : null;
  const audited = decision.counted
    .filter(({ action }) => action === 'audit')
    .map(({ cell }) => cellName(set, cell)?.vector);
  const counted = audited.length > 0 ? ` (counted: ${audited.join(', ')})` : '';
  const reason = reasonOf(set, decision, decidedBy, operation.op);
  const text = `${subjectOf(operation)} ${OUTCOME[decision.outcome]}: ${reason}${counted}`;
  return { ...decision, decidedBy, text };
}

function matchText(match: Match): string {
  switch (match.kind) {
    case 'path': {
      const under = { exact: '', directory: '/', recursive: '/**' }[match.match];
      return `${match.ops.join(',')} ${match.path === '' ? '(no path)' : match.path === '/' ? under || '/' : match.path + under}`;
    }
    case 'suffix':
      return `${match.ops.join(',')} *${match.suffix}`;
    case 'abstract':
      return `${match.ops.join(',')} @${match.name}`;
    case 'address': {
      const ports = match.portFirst === match.portLast ? `${match.portFirst}` : `${match.portFirst}-${match.portLast}`;
      const except = match.except.length > 0 ? ` but ${match.except.join(',')}` : '';
      return `${match.ops.join(',')} ${match.cidr ?? 'any'}${except} ports ${ports} protocol ${match.protocol || 'any'}`;
    }
    case 'value':
      return `${match.op} ${valueName(match.op, match.value)}`;
  }
}

/** Text of a rule for tables: its matches and its programs. */
export function describeRule(rule: RuleIR): { action: RuleAction; vector: string; from: string; matches: string[] } {
  const from =
    rule.source === null ? 'any' : rule.source.map((s) => `${s.path}${s.children ? ' and children' : ''}`).join(', ');
  return { action: rule.action, vector: `${rule.policyName}/${rule.name}`, from, matches: rule.matches.map(matchText) };
}
