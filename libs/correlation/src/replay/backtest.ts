/**
 * What other rules would have made of the same stream: the rule book of a trial, and two lists of verdicts side by side. Pure.
 *
 * Place in the path: VIOLATIONS → the fold, twice over (rules as they were live, rules on trial) → here → `bailiff backtest`. Invariants: a rule on
 * trial holds for the whole stretch, whatever CONFIG_LOG says of its name; every other rule is as it was at each moment. The same lists
 * give the same comparison in the same order.
 */
import type { CorrelationRule } from '@bailiff/policy';
import { BUILT_IN_RULES, parseConfigKey } from '@bailiff/policy';
import type { GroupBy, Level, Verdict, VerdictPod } from '@bailiff/schemas';
import { RuleBook, type RuleChange } from '../engine/rule-history.ts';

/** What is kept of a verdict to compare it: some 300 bytes. */
export interface TrialVerdict {
  verdictId: string;
  rule: string;
  level: Level;
  groupBy: GroupBy;
  groupKey: string;
  triggeredAt: number;
  observed: number;
  threshold: number;
  nodeName: string;
  pod: VerdictPod | null;
  vectors: readonly string[];
  /** Of the frame that set it off, in VIOLATIONS; 0 when it names none. */
  triggerSequence: number;
}

export function trialOf(verdict: Verdict): TrialVerdict {
  const { verdictId, rule, level, groupBy, groupKey, triggeredAt, observed, threshold, nodeName, pod, vectors } =
    verdict;
  const triggerSequence = verdict.evidence.at(-1)?.streamSequence ?? 0;
  const names = { verdictId, rule, level, groupBy, groupKey, nodeName, pod, vectors };
  return { ...names, triggeredAt, observed, threshold, triggerSequence };
}

/**
 * The book for a trial: rules by name that hold throughout, the others by what the log says.
 * @param only whether nothing but the rules on trial holds
 */
export function trialBook(
  changes: readonly RuleChange[],
  onTrial: Readonly<Record<string, CorrelationRule>>,
  only = false,
): RuleBook {
  const book = new RuleBook(only ? onTrial : { ...BUILT_IN_RULES, ...onTrial });
  if (only) return book;
  for (const change of changes) if (!isOnTrial(change.key, onTrial)) book.apply(change);
  return book;
}

function isOnTrial(key: string, onTrial: Readonly<Record<string, CorrelationRule>>): boolean {
  try {
    const { kind, name } = parseConfigKey(key);
    return kind === 'correlation' && Object.hasOwn(onTrial, name);
  } catch {
    // The book itself tells of a key that is none.
    return false;
  }
}

export interface Pair {
  before: TrialVerdict;
  after: TrialVerdict;
}

export interface Comparison {
  /** In both, at the same time and level. */
  same: Pair[];
  /** In both, at another time or level. */
  moved: Pair[];
  /** Only under the rules on trial. */
  appeared: TrialVerdict[];
  /** Only before. */
  vanished: TrialVerdict[];
}

/**
 * Two lists side by side. Verdicts of one id are the same judgement; what is left is paired within one rule and group, oldest first, where the two
 * times lie within `nearMicros` of each other: a rule whose cooldown was changed counts its epochs otherwise and so gives other ids.
 */
export function compareVerdicts(
  before: readonly TrialVerdict[],
  after: readonly TrialVerdict[],
  nearMicros: number,
): Comparison {
  const result: Comparison = { same: [], moved: [], appeared: [], vanished: [] };
  const take = (pair: Pair) => {
    const { triggeredAt, level } = pair.before;
    const same = triggeredAt === pair.after.triggeredAt && level === pair.after.level;
    (same ? result.same : result.moved).push(pair);
  };
  const byId = new Map(before.map((verdict) => [verdict.verdictId, verdict]));
  const unpaired: TrialVerdict[] = [];
  for (const verdict of after) {
    const own = byId.get(verdict.verdictId);
    if (own) take({ before: own, after: verdict });
    else unpaired.push(verdict);
    byId.delete(verdict.verdictId);
  }
  const left = groupsOf([...byId.values()]);
  for (const verdict of unpaired.sort(inOrder)) {
    const own = left.get(groupOf(verdict));
    const near = own?.findIndex(({ triggeredAt }) => Math.abs(triggeredAt - verdict.triggeredAt) <= nearMicros) ?? -1;
    if (own === undefined || near < 0) result.appeared.push(verdict);
    else take({ before: own.splice(near, 1)[0] as TrialVerdict, after: verdict });
  }
  result.vanished = [...left.values()].flat().sort(inOrder);
  for (const pairs of [result.same, result.moved]) pairs.sort((a, b) => inOrder(a.after, b.after));
  return result;
}

const groupOf = ({ rule, groupBy, groupKey }: TrialVerdict) => JSON.stringify([rule, groupBy, groupKey]);

function groupsOf(verdicts: TrialVerdict[]): Map<string, TrialVerdict[]> {
  const groups = new Map<string, TrialVerdict[]>();
  for (const verdict of verdicts.sort(inOrder)) {
    const group = groups.get(groupOf(verdict));
    if (group) group.push(verdict);
    else groups.set(groupOf(verdict), [verdict]);
  }
  return groups;
}

/** By time, and where that is one, by id: no two verdicts stand equal. */
export function inOrder(a: TrialVerdict, b: TrialVerdict): number {
  return a.triggeredAt - b.triggeredAt || (a.verdictId < b.verdictId ? -1 : a.verdictId > b.verdictId ? 1 : 0);
}
