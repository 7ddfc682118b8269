/**
 * Where policies of one pod pull in different directions, found by asking the model itself: each allow and each block is tried on what it
 * names, and is in conflict when another rule decides. Pure.
 *
 * What is tried is one operation a match (the path itself, the first address, the first port), so a denial of a part of what is
 * allowed is no conflict: it is an exception, and works. Bounds: MAX_COMPARISONS.
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

/** Each operation that is tried is compared with every match of the set: about a second. */
const MAX_COMPARISONS = 4_000_000;

export interface Conflict {
  /** `<policy>/<rule>` that does not do what it says. */
  rule: string;
  policy: string;
  /** Which decides instead. */
  decidedBy: string;
  /** One sentence. */
  text: string;
  /** Operations of the rule for which it is so. */
  operations: number;
}

function socketOf(value: bigint): bigint {
  const part = (shift: bigint, any: number) => {
    const number = Number((value >> shift) & 0xffffn);
    return number === SOCKET_ANY ? any : number;
  };
  return socketValue(part(32n, 2), part(16n, 1), part(0n, 0));
}

/** One operation that a match holds for. */
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
  // An alias that is guarded, or a posture, is not another rule.
  if (decision.by !== 'rule' || (!ofAllow && decision.outcome !== 'kill')) return null;
  const why = ofAllow ? 'a denial wins over allow' : 'kill wins over block';
  return {
    rule: vector,
    policy: rule.policy,
    decidedBy,
    text: `${decision.text}, although ${vector} ${ofAllow ? 'allows' : 'only blocks'} it: ${why}`,
  };
}

/** `complete` false: more rules than are tried. */
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
