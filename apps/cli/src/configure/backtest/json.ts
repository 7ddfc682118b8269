/** A backtest report as one JSON document. Pure. */
import type { Comparison, Pair, TrialVerdict } from '@bailiff/correlation';
import { isoMicros } from '@bailiff/insight';
import { type Report, tallyResponses } from '../../shared/backtest/report.ts';
import type { SimulatedResponse } from '../../shared/backtest/simulated-responses.ts';

function verdictJson(verdict: TrialVerdict): Record<string, unknown> {
  const { digest: _digest, triggeredAt, ...rest } = verdict as TrialVerdict & { digest?: string };
  return { triggeredAt: isoMicros(triggeredAt), ...rest };
}

function pairJson({ before, after }: Pair): Record<string, unknown> {
  return {
    before: verdictJson(before),
    after: verdictJson(after),
    laterByMicros: after.triggeredAt - before.triggeredAt,
  };
}

function comparisonJson({ same, moved, appeared, vanished }: Comparison): Record<string, unknown> {
  return {
    same: same.length,
    moved: moved.map(pairJson),
    appeared: appeared.map(verdictJson),
    vanished: vanished.map(verdictJson),
  };
}

function responseJson({ verdict, atMicros, ...response }: SimulatedResponse): Record<string, unknown> {
  const { verdictId, rule, level, pod, nodeName } = verdict;
  return { at: isoMicros(atMicros), ...response, verdictId, rule, level, pod, nodeName };
}

/** Keys are public: they keep their names when the fields of the report change. */
export function reportJson(report: Report) {
  const { check, verdicts, capped, exitCode } = report;
  const { firstMicros, lastMicros, warmFromMicros, ofUnlistedPods, ...counts } = report.range;
  const { list, comparison } = report.responses;
  return {
    stretch: {
      ...counts,
      unvouched: ofUnlistedPods,
      first: counts.firstSequence === 0 ? null : isoMicros(firstMicros),
      last: counts.firstSequence === 0 ? null : isoMicros(lastMicros),
      warmFrom: warmFromMicros === null ? null : isoMicros(warmFromMicros),
    },
    onTrial: report.trialNames,
    check: {
      issued: check.published,
      reproduced: check.reproduced,
      exact: check.exact,
      ...comparisonJson(check.comparison),
    },
    verdicts: verdicts && { live: verdicts.live, trial: verdicts.trial, ...comparisonJson(verdicts.comparison) },
    answers: {
      tally: tallyResponses(list),
      list: list.map(responseJson),
      ...(comparison
        ? {
            both: comparison.both,
            appeared: comparison.appeared.map(responseJson),
            vanished: comparison.vanished.map(responseJson),
          }
        : {}),
    },
    capped,
    exitCode,
  };
}
