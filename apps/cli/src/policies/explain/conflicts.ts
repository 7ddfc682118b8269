/**
 * Finds conflicts between a pod's policies by evaluating the model: each allow and block rule is
 * tried on the operations it names, and conflicts if another rule decides. Pure.
 *
 * One operation per match is tried (the path, the first address, the first port), so a denied part
 * of an allowed range is no conflict but an exception. Bounds: MAX_COMPARISONS.
 */
import {
  explain,
  type Match,
  type Operation,
  type OperationName,
  type PolicySet,
  type RuleIR,
  SOCKET_ANY,
  socketValue,
} from '@bailiff/runtime';

/** Each operation is compared with every match of the set; about one second. */
const MAX_COMPARISONS = 4_000_000;

export interface Conflict {
  /** The overridden rule, `<policy>/<rule>`. */
  rule: string;
  policy: string;
  /** The rule that decides. */
  decidedBy: string;
  /** A sentence. */
  text: string;
  /** Affected operations of the rule. */
  operations: number;
}

function socketOf(value: bigint): bigint {
  const part = (shift: bigint, any: number) => {
    const number = Number((value >> shift) & 0xffffn);
    return number === SOCKET_ANY ? any : number;
  };
  return socketValue(part(32n, 2), part(16n, 1), part(0n, 0));
}

/** One operation that fulfils a match. */
function operationFor(match: Match, op: OperationName): Operation | null {
  switch (match.kind) {
    case 'path':
      return match.path === '' ? null : { kind: 'path', op, path: match.path };
    case 'suffix':
      return { kind: 'path', op, path: `/any${match.suffix}` };
    case 'abstract':
      return { kind: 'abstract', op, name: match.name };
    case 'address': {
      const address = match.cidr === null ? '192.0.2.1' : (match.cidr.split('/')[0] as string);
      return { kind: 'address', op, address, port: match.portFirst, protocol: match.protocol || 6 };
    }
    case 'value':
      return { kind: 'value', op, value: op === 'socket' ? socketOf(match.value) : match.value };
  }
}

function opsOf(match: Match): readonly OperationName[] {
  return match.kind === 'value' ? [match.op] : match.ops;
}

function conflictAt(set: PolicySet, rule: RuleIR, operation: Operation): Omit<Conflict, 'operations'> | null {
  const chain = rule.source ? [rule.source[0]?.path ?? ''] : [];
  const decision = explain(set, operation, { chain, cut: false });
  const vector = `${rule.policyName}/${rule.name}`;
  const { decidedBy } = decision;
  if (decision.outcome === 'pass' || decidedBy === null || decidedBy === vector) return null;
  const ofAllow = rule.action === 'allow' || rule.action === 'allow-audit';
  // Guarded aliases and postures are not conflicting rules.
  if (decision.by !== 'rule' || (!ofAllow && decision.outcome !== 'kill')) return null;
  const why = ofAllow ? 'a denial wins over allow' : 'kill wins over block';
  return {
    rule: vector,
    policy: rule.policy,
    decidedBy,
    text: `${decision.text}, although ${vector} ${ofAllow ? 'allows' : 'only blocks'} it: ${why}`,
  };
}

/** `complete` is false if there were too many rules to try. */
export function conflictsOf(set: PolicySet): { conflicts: Conflict[]; complete: boolean } {
  const found = new Map<string, Conflict>();
  const matches = set.rules.reduce((sum, rule) => sum + rule.matches.length, 0);
  let left = Math.floor(MAX_COMPARISONS / Math.max(1, matches));
  for (const rule of set.rules) {
    if (rule.action === 'audit' || rule.action === 'kill') continue;
    for (const match of rule.matches)
      for (const op of opsOf(match)) {
        const operation = operationFor(match, op);
        if (operation === null) continue;
        if (left === 0) return { conflicts: [...found.values()], complete: false };
        left -= 1;
        const conflict = conflictAt(set, rule, operation);
        if (conflict === null) continue;
        const key = `${conflict.rule} ${conflict.decidedBy}`;
        const known = found.get(key);
        if (known) known.operations += 1;
        else found.set(key, { ...conflict, operations: 1 });
      }
  }
  return { conflicts: [...found.values()], complete: true };
}
