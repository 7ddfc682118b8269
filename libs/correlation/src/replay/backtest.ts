/**
 * Backtest: the rule history of a trial, and the comparison of its verdicts with the live ones.
 * Pure. Data path: VIOLATIONS → two engines (live rules, trial rules) → here → `bailiff backtest`.
 *
 * Invariants: a rule on trial is in force for the whole period, whatever CONFIG_LOG contains under
 * its name. Every other rule follows the log. The same lists give the same comparison in the same
 * order.
 */
import type { CorrelationRule, SignedConfig } from '@bailiff/policy';
import { BUILT_IN_RULES, parseConfigKey } from '@bailiff/policy';
import type { GroupBy, Level, Verdict, VerdictPod } from '@bailiff/schemas';
import { type RuleChange, RuleHistory } from '../engine/rule-history.ts';

/** The fields of a verdict that a comparison needs: some 300 bytes. */
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
  audited: boolean;
  /** Sequence in VIOLATIONS of the frame that triggered it; 0 if unknown. */
  triggerSequence: number;
}

export function trialOf(verdict: Verdict): TrialVerdict {
  const { verdictId, rule, level, groupBy, groupKey, triggeredAt, observed, threshold, nodeName, pod } = verdict;
  const { vectors, audited } = verdict;
  const triggerSequence = verdict.evidence.at(-1)?.streamSequence ?? 0;
  const names = { verdictId, rule, level, groupBy, groupKey, nodeName, pod, vectors, audited };
  return { ...names, triggeredAt, observed, threshold, triggerSequence };
}

/**
 * The rule history of a trial: the rules on trial are constant, the others follow the log.
 * @param only true: no other rules are in force
 * @param signed as the correlator of that time, without a memory; absent: it required no signatures
 */
export function trialRuleHistory(
  changes: readonly RuleChange[],
  trialRules: Readonly<Record<string, CorrelationRule>>,
  only = false,
  signed?: SignedConfig,
): RuleHistory {
  const history = new RuleHistory(only ? trialRules : { ...BUILT_IN_RULES, ...trialRules }, signed);
  if (only) return history;
  for (const change of changes) if (!isTrialRule(change.key, trialRules)) history.apply(change);
  return history;
}

function isTrialRule(key: string, trialRules: Readonly<Record<string, CorrelationRule>>): boolean {
  try {
    const { kind, name } = parseConfigKey(key);
    return kind === 'correlation' && Object.hasOwn(trialRules, name);
  } catch {
    // RuleHistory reports the invalid key.
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
 * Compares two lists. Verdicts with the same id are the same verdict. The rest is paired within a
 * rule and group, oldest first, if the times differ by at most `nearMicros`. That pairs the
 * verdicts of a rule whose cooldown changed: its epochs, and so its ids, are different.
 */
export function compareVerdicts(
  before: readonly TrialVerdict[],
  after: readonly TrialVerdict[],
  nearMicros: number,
): Comparison {
  const result: Comparison = { same: [], moved: [], appeared: [], vanished: [] };
  const addPair = (pair: Pair) => {
    const { triggeredAt, level } = pair.before;
    const same = triggeredAt === pair.after.triggeredAt && level === pair.after.level;
    (same ? result.same : result.moved).push(pair);
  };
  const byId = new Map(before.map((verdict) => [verdict.verdictId, verdict]));
  const unpaired: TrialVerdict[] = [];
  for (const verdict of after) {
    const own = byId.get(verdict.verdictId);
    if (own) addPair({ before: own, after: verdict });
    else unpaired.push(verdict);
    byId.delete(verdict.verdictId);
  }
  const left = groupsOf([...byId.values()]);
  for (const verdict of unpaired.sort(inOrder)) {
    const own = left.get(groupOf(verdict));
    const near = own?.findIndex(({ triggeredAt }) => Math.abs(triggeredAt - verdict.triggeredAt) <= nearMicros) ?? -1;
    if (own === undefined || near < 0) result.appeared.push(verdict);
    else addPair({ before: own.splice(near, 1)[0] as TrialVerdict, after: verdict });
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

/** Orders by time, then by id: a total order. */
export function inOrder(a: TrialVerdict, b: TrialVerdict): number {
  return a.triggeredAt - b.triggeredAt || (a.verdictId < b.verdictId ? -1 : a.verdictId > b.verdictId ? 1 : 0);
}
