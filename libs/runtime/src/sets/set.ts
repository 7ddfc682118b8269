/**
 * The policy set: all policies of a container, merged to typed rules. Its name is the hash of its
 * content, so that pods with the same policies share one set in the kernel.
 *
 * Data path: configuration → merge.ts → here → compile.ts → maps, and → model.ts, which decides by
 * it. Invariants: plain data that survives JSON. The index of a rule is its counter cell. Equal
 * content has an equal digest.
 */

import { createHash } from 'node:crypto';
import type { Level, OperationName, PostureClass, RuleAction } from '@bailiff/vocabulary';
import type { PathMatch } from './names.ts';

/**
 * Maximum number of rules of one set, far above what a person writes. It limits counters and the
 * time of a change.
 */
export const MAX_SET_RULES = 4096;

/**
 * Path of a file outside every mount namespace: memfd, detached mounts. Such a file cannot have an
 * alias.
 */
export const ANONYMOUS = '';

export interface PathRuleMatch {
  readonly kind: 'path';
  readonly ops: readonly OperationName[];
  readonly path: string;
  readonly match: Exclude<PathMatch, 'ancestor'>;
  readonly field: string;
}
export interface SuffixMatch {
  readonly kind: 'suffix';
  readonly ops: readonly OperationName[];
  readonly suffix: string;
  readonly field: string;
}
export interface AbstractMatch {
  readonly kind: 'abstract';
  readonly ops: readonly OperationName[];
  readonly name: string;
  readonly field: string;
}
export interface AddressMatch {
  readonly kind: 'address';
  readonly ops: readonly OperationName[];
  /** Null: every address of both families. */
  readonly cidr: string | null;
  /** Excluded from `cidr`. */
  readonly except: readonly string[];
  readonly portFirst: number;
  readonly portLast: number;
  /** 0: any. */
  readonly protocol: number;
  readonly field: string;
}
export interface ValueMatch {
  readonly kind: 'value';
  readonly op: OperationName;
  readonly value: bigint;
  readonly field: string;
}
/** `field` is the dotted path in the policy, for messages: `rules.2.file.paths.0`. */
export type Match = PathRuleMatch | SuffixMatch | AbstractMatch | AddressMatch | ValueMatch;

/** A program whose operations a rule applies to. */
export interface Source {
  readonly path: string;
  readonly children: boolean;
}

export interface RuleIR {
  /** Counter cell, in the order of merging. */
  readonly index: number;
  /** Key of the policy: `runtime.cluster._.no-shell`. */
  readonly policy: string;
  readonly policyName: string;
  readonly revision: number;
  readonly name: string;
  /** Action as carried out: `block` of a policy in audit mode is `audit` here. */
  readonly action: RuleAction;
  readonly severity: Level;
  readonly tags: readonly string[];
  readonly message: string;
  /** Null: any program. */
  readonly source: readonly Source[] | null;
  readonly matches: readonly Match[];
}

/** First policy that requests a posture, for violations without a rule. */
export interface PostureIR {
  readonly block: PostureOwner | null;
  readonly audit: PostureOwner | null;
}
export interface PostureOwner {
  readonly policy: string;
  readonly policyName: string;
  readonly revision: number;
  readonly severity: Level;
  readonly tags: readonly string[];
  readonly message: string;
}

export interface PolicySet {
  /** SHA-256 of the content, in hex. */
  readonly digest: string;
  readonly rules: readonly RuleIR[];
  readonly postures: Readonly<Record<PostureClass, PostureIR>>;
  /** For a path that the kernel cannot resolve. */
  readonly onUnresolvable: 'audit' | 'block';
  /** For a call with an address that no hook sees. */
  readonly onUnresolvableAddress: 'audit' | 'block';
}

/** Content hash. Keys are sorted by their text; a BigInt is written as digits. */
export function digestOf(content: Omit<PolicySet, 'digest'>): string {
  const canonical = (value: unknown): unknown => {
    if (typeof value === 'bigint') return `${value}n`;
    if (Array.isArray(value)) return value.map(canonical);
    if (value === null || typeof value !== 'object') return value;
    return Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => [key, canonical(entry)]);
  };
  return createHash('sha256')
    .update(JSON.stringify(canonical(content)))
    .digest('hex');
}

/** True if an action denies. */
export function denies(action: RuleAction): boolean {
  return action === 'block' || action === 'kill';
}

const RUNS: readonly OperationName[] = ['execute', 'map-execute'];

/**
 * True if aliases of a match are denied as well. A denial of execution alone does not guard names:
 * only drift rules stop a copied program, and renames in such a directory are normal use.
 */
export function guardsNames(rule: RuleIR, match: Match): match is PathRuleMatch | SuffixMatch {
  if (!denies(rule.action) || (match.kind !== 'path' && match.kind !== 'suffix')) return false;
  return match.ops.some((op) => !RUNS.includes(op));
}

/**
 * True for a path that a denial guards. A rename of a directory above it, or a mount there, is
 * denied too.
 */
export function isGuarded(rule: RuleIR, match: Match): match is PathRuleMatch {
  return guardsNames(rule, match) && match.kind === 'path' && match.path !== ANONYMOUS;
}

/**
 * The denial that a refused alias (bind mount, move, pivot, overlay) counts for: the strongest,
 * then the first. Null if no path is denied. Suffix rules count, because an alias has its own name.
 * Abstract names do not.
 */
export function aliasGuard(set: Pick<PolicySet, 'rules'>): { rule: number; action: 'block' | 'kill' } | null {
  let found: RuleIR | null = null;
  for (const rule of set.rules) {
    if (!rule.matches.some((match) => guardsNames(rule, match))) continue;
    if (found === null || (found.action === 'block' && rule.action === 'kill')) found = rule;
  }
  return found === null ? null : { rule: found.index, action: found.action as 'block' | 'kill' };
}

/** Operations that a path rule denies on the directories above its path. */
export const ANCESTOR_OPERATIONS: readonly OperationName[] = ['rename', 'mount-point'];
