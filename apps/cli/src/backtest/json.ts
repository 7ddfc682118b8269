/** A backtest's report for a program: everything, in one document. Pure. */
import type { Comparison, Pair, TrialVerdict } from '@bailiff/correlation';
import { isoMicros } from '../shared/text/time.ts';
import { type Report, tallyAnswers } from './report.ts';
import type { Answer } from './simulated-responses.ts';

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

function answerJson({ verdict, atMicros, ...answer }: Answer): Record<string, unknown> {
  const { verdictId, rule, level, pod, nodeName } = verdict;
  return { at: isoMicros(atMicros), ...answer, verdictId, rule, level, pod, nodeName };
}

export function reportJson({ stretch, onTrial, check, verdicts, answers, capped, exitCode }: Report) {
  const { firstMicros, lastMicros, warmFromMicros, ...counts } = stretch;
  return {
    stretch: {
      ...counts,
      first: stretch.frames === 0 ? null : isoMicros(firstMicros),
      last: stretch.frames === 0 ? null : isoMicros(lastMicros),
      warmFrom: warmFromMicros === null ? null : isoMicros(warmFromMicros),
    },
    onTrial,
    check: {
      issued: check.issued,
      reproduced: check.reproduced,
      exact: check.exact,
      ...comparisonJson(check.comparison),
    },
    verdicts: verdicts && { live: verdicts.live, trial: verdicts.trial, ...comparisonJson(verdicts.comparison) },
    answers: {
      tally: tallyAnswers(answers.list),
      list: answers.list.map(answerJson),
      ...(answers.comparison
        ? {
            both: answers.comparison.both,
            appeared: answers.comparison.appeared.map(answerJson),
            vanished: answers.comparison.vanished.map(answerJson),
          }
        : {}),
    },
    capped,
    exitCode,
  };
}
