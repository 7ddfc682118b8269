/**
 * Evaluates a backtest: live rules against published verdicts, trial rules against live rules, and
 * responses. Pure.
 *
 * Invariant: a function of the result in a fixed order, so that two runs give the same bytes.
 */
import { type Comparison, compareVerdicts, type TrialVerdict } from '@bailiff/correlation';
import type { BacktestRange, BacktestResult, DigestedVerdict } from './backtest.ts';
import {
  compareResponses,
  type ResponseComparison,
  type SimulatedResponse,
  simulateResponses,
} from './simulated-responses.ts';

/** Exit codes in addition to the common ones. */
export const BACKTEST_EXIT = { same: 0, differs: 10, notReproduced: 11 } as const;

/** Whether the live rules reproduce the published verdicts. */
export interface Check {
  published: number;
  /** With equal time, level and pod. */
  reproduced: number;
  /** Reproduced byte for byte. */
  exact: number;
  /**
   * Reproduced without the published owner: no current snapshot lists the pod, so its owner is
   * unconfirmed.
   */
  ownerless: number;
  /**
   * Not reproducible, because their rules group by owner or namespace, and unlisted pods do not
   * count for these.
   */
  unlisted: number;
  comparison: Comparison;
}

export interface Report {
  range: BacktestRange;
  /** Names of the trial rules and policies, and keys of the modes; null without any. */
  trialNames: { rules: string[]; policies: string[]; modes: string[] } | null;
  check: Check;
  /** Trial rules against live rules; null without trial rules. */
  verdicts: { live: number; trial: number; comparison: Comparison } | null;
  /** Simulated under the trial rules, otherwise under the live rules. */
  responses: { list: readonly SimulatedResponse[]; comparison: ResponseComparison | null };
  capped: BacktestResult['capped'];
  packets: BacktestResult['packets'];
  exitCode: number;
}

/** Groupings that need the pod's snapshot. */
const NEEDS_LIST: ReadonlySet<string> = new Set(['owner', 'namespace']);

/** @param ofUnlistedPods violations of pods in no current snapshot */
export function checkOf(
  published: readonly DigestedVerdict[],
  live: readonly DigestedVerdict[],
  nearMicros: number,
  ofUnlistedPods: number,
): Check {
  const comparison = compareVerdicts(published, live, nearMicros);
  const exact = comparison.same.filter(
    ({ before, after }) => (before as DigestedVerdict).digest === (after as DigestedVerdict).digest,
  );
  const ownerless = comparison.same.filter(({ before, after }) => before.pod?.ownerUid && !after.pod?.ownerUid);
  const missed = [...comparison.vanished, ...comparison.moved.map(({ before }) => before)];
  const unlisted = ofUnlistedPods === 0 ? [] : missed.filter(({ groupBy }) => NEEDS_LIST.has(groupBy));
  return {
    published: published.length,
    reproduced: comparison.same.length,
    exact: exact.length,
    ownerless: ownerless.length,
    unlisted: unlisted.length,
    comparison,
  };
}

const isSame = ({ moved, appeared, vanished }: Comparison) => moved.length + appeared.length + vanished.length === 0;

export function reportOf(result: BacktestResult, trialNames: Report['trialNames']): Report {
  const { range, published, live, trial, nearMicros, contexts, capped, packets } = result;
  const check = checkOf(published, live, nearMicros, range.ofUnlistedPods);
  const liveResponses = simulateResponses(live, contexts.live);
  const base = { range, trialNames, check, capped, packets };
  if (trial === null) {
    const exitCode = isSame(check.comparison) ? BACKTEST_EXIT.same : BACKTEST_EXIT.notReproduced;
    return { ...base, verdicts: null, responses: { list: liveResponses, comparison: null }, exitCode };
  }
  const verdicts = compareVerdicts(live, trial, nearMicros);
  const list = simulateResponses(trial, contexts.trial);
  const comparison = compareResponses(liveResponses, list);
  const changed = comparison.appeared.length + comparison.vanished.length + packets.changed.length;
  const same = isSame(verdicts) && changed === 0;
  return {
    ...base,
    verdicts: { live: live.length, trial: trial.length, comparison: verdicts },
    responses: { list, comparison },
    exitCode: same ? BACKTEST_EXIT.same : BACKTEST_EXIT.differs,
  };
}

/** Pod or node of a verdict. */
export const subjectOf = ({ pod, nodeName }: TrialVerdict) =>
  pod ? `${pod.namespace}/${pod.name}` : `node ${nodeName}`;

/** Counts responses by action, outcome, refusing guard and dry run. */
export function tallyResponses(
  responses: readonly SimulatedResponse[],
): { action: string; outcome: string; code: string; dryRun: boolean; count: number; pods: number }[] {
  type Group = { action: string; outcome: string; code: string; dryRun: boolean; count: number; uids: Set<string> };
  const groups = new Map<string, Group>();
  for (const { verdict, action, outcome, code, dryRun } of responses) {
    const key = JSON.stringify([action, outcome, code, dryRun]);
    const group = groups.get(key) ?? { action, outcome, code, dryRun, count: 0, uids: new Set<string>() };
    group.count += 1;
    group.uids.add(verdict.pod?.uid ?? verdict.nodeName);
    groups.set(key, group);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { uids, ...group }]) => ({ ...group, pods: uids.size }));
}
