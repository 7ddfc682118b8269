/**
 * Compiles path rules to entries of `rt_paths`.
 *
 * Each path, suffix or abstract name gets one key with every rule that names it. Each directory
 * above a denied path gets a marker, because a rename of the directory, or a mount on it, would
 * create an alias of the protected path. Invariants: a marker has the source of its rule, because
 * unrestricted programs could read and copy the path anyway. Of several denials below one
 * directory, each source keeps only the strongest marker, then the first. Each directory also has
 * the operations that are denied below it: where one object has several names, the kernel refuses
 * these as unresolved.
 */

import type { OperationName, RuleAction } from '@bailiff/vocabulary';
import { type FieldRef, PolicyError } from '../sets/errors.ts';
import {
  operationMask,
  PATH_CLASSES,
  type PathClass,
  type PathKind,
  type PathMatch,
  pathClassOf,
} from '../sets/names.ts';
import { ANCESTOR_OPERATIONS, ANONYMOUS, denies, isGuarded, type Match, type RuleIR } from '../sets/set.ts';
import { components, type PathHasher } from './hash.ts';
import { PATH_RULES } from './layout.ts';
import type { SourceGroups } from './sources.ts';

export interface PathRuleEntry {
  readonly ops: bigint;
  readonly rule: number;
  readonly source: number;
  readonly action: RuleAction;
  readonly match: PathMatch;
}

export interface PathEntry {
  readonly kind: PathKind;
  readonly hash: bigint;
  /** The hashed text, for messages and tests. The kernel has only the hash. */
  readonly text: string;
  readonly rules: readonly PathRuleEntry[];
  /** Operations that a rule denies on a path below this one. */
  readonly below: bigint;
}

interface Draft {
  kind: PathKind;
  text: string;
  rules: PathRuleEntry[];
  fields: FieldRef[];
  /** Markers by source, against renames and mounts. */
  markers: Map<number, { rule: RuleIR; field: FieldRef }>;
  below: bigint;
}

/**
 * Directories above a path, without the root: it cannot be renamed, and a mount on it moves no
 * path.
 */
export function ancestors(path: string): string[] {
  const found: string[] = [];
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1))
    found.push(path.slice(0, slash));
  return found;
}

/**
 * The path and the directories above it, without the root. Renames and mounts of these are refused
 * if the path is denied.
 */
export function guardedNames(path: string): string[] {
  return path === '/' ? [] : [path, ...ancestors(path)];
}

const MAX_DEPTH = 31;

/** What the rules of one class of operations can match; the kernel hashes nothing else. */
export interface PathMasks {
  /** Bit n: a suffix rule has n bytes. */
  suffixLengths: bigint;
  /** Bit n: a rule has a path of n components (31: or more). Markers do not count. */
  depths: number;
}

/** Bit of `depths` in the masks: the number of components of a path, limited to MAX_DEPTH. */
export function depthBit(path: string): number {
  return 1 << Math.min(components(path).length, MAX_DEPTH);
}

const MARKER_MASK = operationMask(ANCESTOR_OPERATIONS);

class Masks {
  readonly byClass = Object.fromEntries(PATH_CLASSES.map((name) => [name, { suffixLengths: 0n, depths: 0 }])) as Record<
    PathClass,
    PathMasks
  >;

  add({ kind, text, ops }: { kind: PathKind; text: string; ops: readonly OperationName[] }): void {
    for (const name of new Set(ops.map(pathClassOf))) {
      const masks = this.byClass[name];
      if (kind === 'prefix') masks.depths = (masks.depths | depthBit(text)) >>> 0;
      if (kind === 'suffix') masks.suffixLengths |= 1n << BigInt(Buffer.byteLength(text));
    }
  }
}

class Drafts {
  readonly #byKey = new Map<string, Draft>();

  at(kind: PathKind, text: string): Draft {
    const key = `${kind} ${text}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const draft: Draft = { kind, text, rules: [], fields: [], markers: new Map(), below: 0n };
    this.#byKey.set(key, draft);
    return draft;
  }

  values(): Draft[] {
    return [...this.#byKey.values()];
  }
}

function textOf(
  match: Match,
): { kind: PathKind; text: string; match: PathMatch; ops: readonly OperationName[] } | null {
  if (match.kind === 'path') return { kind: 'prefix', text: match.path, match: match.match, ops: match.ops };
  if (match.kind === 'suffix') return { kind: 'suffix', text: match.suffix, match: 'exact', ops: match.ops };
  if (match.kind === 'abstract') return { kind: 'abstract', text: match.name, match: 'exact', ops: match.ops };
  return null;
}

/**
 * Rules and then markers of one key, without the markers that a rule of this key makes redundant.
 */
function finish(draft: Draft): PathRuleEntry[] {
  const rules = [...draft.rules];
  for (const [source, { rule, field }] of draft.markers) {
    const needless = draft.rules.some(
      (entry) => entry.rule === rule.index && (entry.ops & MARKER_MASK) === MARKER_MASK && entry.source === source,
    );
    if (needless) continue;
    rules.push({ ops: MARKER_MASK, rule: rule.index, source, action: rule.action, match: 'ancestor' });
    draft.fields.push(field);
  }
  if (rules.length > PATH_RULES)
    throw new PolicyError(
      'POLICY_LIMIT',
      `${rules.length} rules meet at ${draft.kind === 'prefix' ? 'path' : draft.kind} ${draft.text}, and the kernel holds ${PATH_RULES}`,
      draft.fields,
    );
  return rules;
}

/** @throws PolicyError POLICY_LIMIT */
export function compilePaths(
  rules: readonly RuleIR[],
  hasher: PathHasher,
  sources: SourceGroups,
): { entries: PathEntry[]; masks: Record<PathClass, PathMasks> } {
  const drafts = new Drafts();
  const masks = new Masks();
  for (const rule of rules) {
    for (const match of rule.matches) {
      const text = textOf(match);
      if (text === null) continue;
      const source = sources.numberOf(rule.source);
      const field = { policy: rule.policy, field: match.field };
      const draft = drafts.at(text.kind, text.text);
      const ops = operationMask(text.ops);
      draft.rules.push({ ops, rule: rule.index, source, action: rule.action, match: text.match });
      draft.fields.push(field);
      masks.add(text);
      if (match.kind === 'path' && match.path !== ANONYMOUS && denies(rule.action))
        for (const name of new Set(['/', ...ancestors(match.path)])) drafts.at('prefix', name).below |= ops;
      if (!isGuarded(rule, match)) continue;
      for (const name of guardedNames(match.path)) {
        const { markers } = drafts.at('prefix', name);
        const there = markers.get(source);
        if (there === undefined || (there.rule.action === 'block' && rule.action === 'kill'))
          markers.set(source, { rule, field });
      }
    }
  }
  const entries = drafts.values().map((draft) => {
    const hash = draft.kind === 'prefix' ? hasher.path(draft.text) : hasher.text(draft.text);
    return { kind: draft.kind, hash, text: draft.text, rules: finish(draft), below: draft.below };
  });
  return { entries, masks: masks.byClass };
}
