/**
 * Path rules → entries of `rt_paths`: one key a path, suffix or abstract name, with every rule that speaks about it; and markers above
 * each denied path, because renaming a parent, or mounting upon it, would give what is protected another name.
 *
 * Invariants: a marker carries its rule's source: who is not restricted could read and pass on what is protected anyway. Of several
 * denials below one directory, only the strongest (then the first) of each source stands there as a marker.
 */

import { type FieldRef, PolicyError } from '../sets/errors.ts';
import { type OperationName, operationMask, type PathKind, type PathMatch, type RuleAction } from '../sets/names.ts';
import { ANCESTOR_OPERATIONS, isGuarded, type Match, type RuleIR } from '../sets/set.ts';
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
  /** What was hashed: for messages and tests; the kernel knows only the hash. */
  readonly text: string;
  readonly rules: readonly PathRuleEntry[];
}

interface Draft {
  kind: PathKind;
  text: string;
  rules: PathRuleEntry[];
  fields: FieldRef[];
  /** By source. */
  markers: Map<number, { rule: RuleIR; field: FieldRef }>;
}

/** The directories above a path, the root left out: nobody renames it, and a mount upon it moves nothing. */
export function ancestors(path: string): string[] {
  const found: string[] = [];
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1))
    found.push(path.slice(0, slash));
  return found;
}

/** The path itself and what lies above it, but the root: where renames and mounts are refused for a denial on it. */
export function guardedNames(path: string): string[] {
  return path === '/' ? [] : [path, ...ancestors(path)];
}

const MAX_DEPTH = 31;

/** Bit of `depths` in the set's head: the path's components, of which the kernel tells no more than these. */
export function depthBit(path: string): number {
  return 1 << Math.min(components(path).length, MAX_DEPTH);
}

const MARKER_MASK = operationMask(ANCESTOR_OPERATIONS);

class Drafts {
  readonly #byKey = new Map<string, Draft>();

  at(kind: PathKind, text: string): Draft {
    const key = `${kind} ${text}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const draft: Draft = { kind, text, rules: [], fields: [], markers: new Map() };
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

/** The rules and then the markers of one key; markers that a rule there makes needless are left out. */
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
): { entries: PathEntry[]; suffixLengths: bigint; depths: number } {
  const drafts = new Drafts();
  let suffixLengths = 0n;
  let depths = 0;
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
      if (text.kind === 'prefix') depths |= depthBit(text.text);
      if (text.kind === 'suffix') suffixLengths |= 1n << BigInt(Buffer.byteLength(text.text));
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
    return { kind: draft.kind, hash, text: draft.text, rules: finish(draft) };
  });
  // 0 would say that it is not known.
  return { entries, suffixLengths, depths: (depths || 1) >>> 0 };
}
