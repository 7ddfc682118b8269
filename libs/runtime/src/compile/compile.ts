/**
 * Compiles a policy set to typed entries of the kernel maps. encode.ts converts them to bytes.
 *
 * Data path: merge.ts → here → encode.ts → collector → maps. Invariants: pure and deterministic.
 * The entries decide as model.ts decides (property test). If more rules meet on one key than the
 * kernel holds, compiling fails with a PolicyError that names their fields.
 */
import { OPERATIONS, type OperationName, POSTURE_CLASSES, type RuleAction } from '@bailiff/vocabulary';
import { PolicyError } from '../sets/errors.ts';
import { operationMask, type PathClass, postureOf, valueName } from '../sets/names.ts';
import { aliasGuard, type PolicySet, type RuleIR, type ValueMatch } from '../sets/set.ts';
import { type AddressEntry, compileAddresses } from './addresses.ts';
import { type HashKey, PathHasher } from './hash.ts';
import { VALUE_RULES } from './layout.ts';
import { compilePaths, type PathEntry, type PathMasks } from './paths.ts';
import { type SourceEntry, SourceGroups } from './sources.ts';

export interface SetHead {
  readonly ops: bigint;
  /** 0 or 1 for each posture class. */
  readonly postureBlock: readonly number[];
  readonly postureAudit: readonly number[];
  readonly rules: number;
  readonly unresolved: 'audit' | 'block';
  readonly unresolvedAddress: 'audit' | 'block';
  readonly guard: { readonly rule: number; readonly action: 'block' | 'kill' } | null;
  readonly driftVolumes: boolean;
  readonly masks: Readonly<Record<PathClass, PathMasks>>;
  /** Digest of the set, in hex. */
  readonly digest: string;
}

export interface ValueEntry {
  readonly op: OperationName;
  readonly value: bigint;
  readonly rules: readonly { readonly rule: number; readonly source: number; readonly action: RuleAction }[];
}

export interface CompiledSet {
  readonly set: number;
  readonly head: SetHead;
  readonly paths: readonly PathEntry[];
  readonly addresses: readonly AddressEntry[];
  readonly values: readonly ValueEntry[];
  readonly sources: readonly SourceEntry[];
}

function compileValues(rules: readonly RuleIR[], sources: SourceGroups): ValueEntry[] {
  const byKey = new Map<string, { op: OperationName; value: bigint; found: { rule: RuleIR; match: ValueMatch }[] }>();
  for (const rule of rules)
    for (const match of rule.matches) {
      if (match.kind !== 'value') continue;
      const key = `${match.op} ${match.value}`;
      const entry = byKey.get(key) ?? { op: match.op, value: match.value, found: [] };
      entry.found.push({ rule, match });
      byKey.set(key, entry);
    }
  return [...byKey.values()].map(({ op, value, found }) => {
    if (found.length > VALUE_RULES)
      throw new PolicyError(
        'POLICY_LIMIT',
        `${found.length} rules meet at ${op} ${valueName(op, value)}, and the kernel holds ${VALUE_RULES}`,
        found.map(({ rule, match }) => ({ policy: rule.policy, field: match.field })),
      );
    const entries = found.map(({ rule }) => ({
      rule: rule.index,
      source: sources.numberOf(rule.source),
      action: rule.action,
    }));
    return { op, value, rules: entries };
  });
}

/**
 * Operations that a rule can count or deny, or that have a posture. Allow rules alone decide
 * nothing.
 */
export function decidableOperations(set: PolicySet): Set<OperationName> {
  const operations = new Set<OperationName>();
  for (const rule of set.rules) {
    if (rule.action === 'allow' || rule.action === 'allow-audit') continue;
    for (const match of rule.matches)
      for (const op of match.kind === 'value' ? [match.op] : match.ops) operations.add(op);
  }
  for (const op of OPERATIONS) {
    const posture = postureOf(op);
    if (posture !== null && (set.postures[posture].block ?? set.postures[posture].audit) !== null) operations.add(op);
  }
  if (aliasGuard(set) !== null)
    for (const op of ['link', 'rename', 'mount-point', 'mount'] as const) operations.add(op);
  return operations;
}

/**
 * Compiles a set under its number with the hash key of the pin directory. The number is 1 or more
 * and was never used in these maps.
 * @throws PolicyError POLICY_LIMIT
 */
export function compileSet(set: PolicySet, number: number, key: HashKey): CompiledSet {
  const hasher = new PathHasher(key);
  const sources = new SourceGroups(hasher);
  const { entries: paths, masks } = compilePaths(set.rules, hasher, sources);
  const addresses = compileAddresses(set.rules, sources);
  const values = compileValues(set.rules, sources);
  const drift = values.filter((entry) => entry.op === 'drift');
  const head: SetHead = {
    ops: operationMask(decidableOperations(set)),
    postureBlock: POSTURE_CLASSES.map((name) => (set.postures[name].block === null ? 0 : 1)),
    postureAudit: POSTURE_CLASSES.map((name) => (set.postures[name].audit === null ? 0 : 1)),
    rules: set.rules.length,
    unresolved: set.onUnresolvable,
    unresolvedAddress: set.onUnresolvableAddress,
    guard: aliasGuard(set),
    driftVolumes: !drift.some((entry) => entry.value === 1n),
    masks,
    digest: set.digest,
  };
  return { set: number, head, paths, addresses, values, sources: sources.entries };
}
