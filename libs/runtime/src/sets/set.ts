/**
 * The policy set: all policies of a container, merged, as typed rules. Named by the hash of its content, so that pods with the same
 * policies share one set in the kernel.
 *
 * Place in the path: config topics → merge.ts → here → compile.ts → maps; and → model.ts, which decides by it.
 * Invariants: plain data, JSON in and out; a rule's index is its counter cell; equal content has an equal digest.
 */
import { createHash } from 'node:crypto';
import type { Level, PostureClass } from '@bailiff/policy';
import type { OperationName, PathMatch, RuleAction } from './names.ts';

/** Rules of one set. Far above what a person writes; bounds counters and the time of a change. */
export const MAX_SET_RULES = 4096;

/** The path of what hangs in no mount namespace: memfd, detached mounts. Nothing can make another name of it. */
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
  /** null: every address of both families. */
  readonly cidr: string | null;
  /** Cut out of `cidr`. */
  readonly except: readonly string[];
  readonly portFirst: number;
  readonly portLast: number;
  /** 0 = any. */
  readonly protocol: number;
  readonly field: string;
}
export interface ValueMatch {
  readonly kind: 'value';
  readonly op: OperationName;
  readonly value: bigint;
  readonly field: string;
}
/** `field` is the place in the policy, for messages: `rules.2.file.paths.0`. */
export type Match = PathRuleMatch | SuffixMatch | AbstractMatch | AddressMatch | ValueMatch;

/** A program whose operations a rule is about. */
export interface Source {
  readonly path: string;
  readonly children: boolean;
}

export interface RuleIR {
  /** Counter cell; the order of merging. */
  readonly index: number;
  /** The policy's key: `runtime.cluster._.no-shell`. */
  readonly policy: string;
  readonly policyName: string;
  readonly revision: number;
  readonly name: string;
  /** As it is carried out: block of a policy in audit mode is audit here. */
  readonly action: RuleAction;
  readonly severity: Level;
  readonly tags: readonly string[];
  readonly message: string;
  /** null: any program. */
  readonly source: readonly Source[] | null;
  readonly matches: readonly Match[];
}

/** Who asked for a posture, for violations that no rule names: the first of the policies that did. */
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
  /** sha256 over the content, hex. */
  readonly digest: string;
  readonly rules: readonly RuleIR[];
  readonly postures: Readonly<Record<PostureClass, PostureIR>>;
  readonly onUnresolvable: 'audit' | 'block';
}

/** Content hash: keys in the order of their text, BigInt as its digits. */
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

/** Whether a rule denies. */
export function denies(action: RuleAction): boolean {
  return action === 'block' || action === 'kill';
}

const RUNS: readonly OperationName[] = ['execute', 'map-execute'];

/**
 * Whether other names for what a match denies are denied as well. Not where only running is: a program can be copied, so only drift rules
 * keep it from running by another name, and renames in a directory that nothing may be run from are everyday use.
 */
export function guardsNames(rule: RuleIR, match: Match): match is PathRuleMatch | SuffixMatch {
  if (!denies(rule.action) || (match.kind !== 'path' && match.kind !== 'suffix')) return false;
  return match.ops.some((op) => !RUNS.includes(op));
}

/** A path that a denial guards: renaming what lies above it, or mounting there, is denied too. */
export function isGuarded(rule: RuleIR, match: Match): match is PathRuleMatch {
  return guardsNames(rule, match) && match.kind === 'path' && match.path !== ANONYMOUS;
}

/**
 * The denial that a refused alias (bind mount, move, pivot, overlay) counts for: the strongest, of these the first; null when no path is
 * denied. Suffixes count, because an alias has a name of its own; abstract names do not.
 */
export function aliasGuard(set: Pick<PolicySet, 'rules'>): { rule: number; action: 'block' | 'kill' } | null {
  let found: RuleIR | null = null;
  for (const rule of set.rules) {
    if (!rule.matches.some((match) => guardsNames(rule, match))) continue;
    if (found === null || (found.action === 'block' && rule.action === 'kill')) found = rule;
  }
  return found === null ? null : { rule: found.index, action: found.action as 'block' | 'kill' };
}

/** Operations of a path rule that renames and mounts of it and of what lies above it are refused by. */
export const ANCESTOR_OPERATIONS: readonly OperationName[] = ['rename', 'mount-point'];
