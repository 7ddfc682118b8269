/**
 * What a backtest found: the live fold against the verdicts that were issued, the rules on trial against the live ones, and the answers. Pure.
 *
 * Invariant: a function of the result alone, in an order that is fixed, so that two runs over one stretch give the same bytes.
 */
import { type Comparison, compareVerdicts, type TrialVerdict } from '@bailiff/correlation';
import type { BacktestResult, DigestedVerdict, Stretch } from './backtest.ts';
import { type Answer, type AnswerComparison, answersTo, compareAnswers } from './simulated-responses.ts';

/** Codes for a pipeline, beside those that every command has. */
export const BACKTEST_EXIT = { same: 0, differs: 10, notReproduced: 11 } as const;

/** Whether the live fold said what was issued. */
export interface Check {
  issued: number;
  /** At the same time, level and pod. */
  reproduced: number;
  /** Of them, those that are the same to the last byte. */
  exact: number;
  /** Reproduced without the owner that was issued: no list names the pod any more, so nobody vouches for its owner. */
  ownerless: number;
  /** Not reproduced, and not to be expected: of rules by owner or namespace, for which pods that no list names any more do not count. */
  unlisted: number;
  comparison: Comparison;
}

export interface Report {
  stretch: Stretch;
  /** Names of the rules and policies on trial; null = only the live ones were tried. */
  onTrial: { rules: string[]; policies: string[] } | null;
  check: Check;
  /** Under the rules on trial against the live ones; null without any. */
  verdicts: { live: number; trial: number; comparison: Comparison } | null;
  /** Under the rules on trial, or under the live ones without any. */
  answers: { list: readonly Answer[]; comparison: AnswerComparison | null };
  capped: BacktestResult['capped'];
  exitCode: number;
}

/** What a violation of a pod that no list names does not count for. */
const NEEDS_LIST: ReadonlySet<string> = new Set(['owner', 'namespace']);

/** @param unvouched violations of pods that no list names any more */
export function checkOf(
  issued: readonly DigestedVerdict[],
  live: readonly DigestedVerdict[],
  nearMicros: number,
  unvouched: number,
): Check {
  const comparison = compareVerdicts(issued, live, nearMicros);
  const exact = comparison.same.filter(
    ({ before, after }) => (before as DigestedVerdict).digest === (after as DigestedVerdict).digest,
  );
  const ownerless = comparison.same.filter(({ before, after }) => before.pod?.ownerUid && !after.pod?.ownerUid);
  const missed = [...comparison.vanished, ...comparison.moved.map(({ before }) => before)];
  const unlisted = unvouched === 0 ? [] : missed.filter(({ groupBy }) => NEEDS_LIST.has(groupBy));
  return {
    issued: issued.length,
    reproduced: comparison.same.length,
    exact: exact.length,
    ownerless: ownerless.length,
    unlisted: unlisted.length,
    comparison,
  };
}

const isSame = ({ moved, appeared, vanished }: Comparison) => moved.length + appeared.length + vanished.length === 0;

export function reportOf(result: BacktestResult, onTrial: Report['onTrial']): Report {
  const { stretch, issued, live, trial, nearMicros, worlds, capped } = result;
  const check = checkOf(issued, live, nearMicros, stretch.unvouched);
  const liveAnswers = answersTo(live, worlds.live);
  const base = { stretch, onTrial, check, capped };
  if (trial === null) {
    const exitCode = isSame(check.comparison) ? BACKTEST_EXIT.same : BACKTEST_EXIT.notReproduced;
    return { ...base, verdicts: null, answers: { list: liveAnswers, comparison: null }, exitCode };
  }
  const comparison = compareVerdicts(live, trial, nearMicros);
  const list = answersTo(trial, worlds.trial);
  const answered = compareAnswers(liveAnswers, list);
  const same = isSame(comparison) && answered.appeared.length + answered.vanished.length === 0;
  return {
    ...base,
    verdicts: { live: live.length, trial: trial.length, comparison },
    answers: { list, comparison: answered },
    exitCode: same ? BACKTEST_EXIT.same : BACKTEST_EXIT.differs,
  };
}

/** Whom a verdict is about. */
export const whomOf = ({ pod, nodeName }: TrialVerdict) => (pod ? `${pod.namespace}/${pod.name}` : `node ${nodeName}`);

/** How many answers of each kind there are, by what was done and which guard refused. */
export function tallyAnswers(
  answers: readonly Answer[],
): { action: string; outcome: string; code: string; count: number; pods: number }[] {
  const groups = new Map<string, { action: string; outcome: string; code: string; count: number; uids: Set<string> }>();
  for (const { verdict, action, outcome, code } of answers) {
    const key = JSON.stringify([action, outcome, code]);
    const group = groups.get(key) ?? { action, outcome, code, count: 0, uids: new Set<string>() };
    group.count += 1;
    group.uids.add(verdict.pod?.uid ?? verdict.nodeName);
    groups.set(key, group);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { uids, ...group }]) => ({ ...group, pods: uids.size }));
}
