/** Verdicts as table rows and JSON lines. Pure. */
import { LEVELS, type Level } from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';
import { matchesPod, type PodSelector } from '../pod-selector.ts';
import { isoMicros } from '../text.ts';

export interface VerdictRow {
  /** Sequence in VERDICTS. */
  sequence: number;
  storedAtMicros: number;
  verdict: Verdict;
}

export interface VerdictFilter {
  pod?: PodSelector | null;
  namespace?: string | undefined;
  node?: string | undefined;
  rule?: string | undefined;
  /** Lowest level. */
  level?: Level | undefined;
}

export function matchesVerdict(verdict: Verdict, { pod, namespace, node, rule, level }: VerdictFilter): boolean {
  if (node !== undefined && verdict.nodeName !== node) return false;
  if (rule !== undefined && verdict.rule !== rule) return false;
  if (level !== undefined && LEVELS.indexOf(verdict.level) < LEVELS.indexOf(level)) return false;
  if (namespace !== undefined && verdict.pod?.namespace !== namespace) return false;
  return !pod || matchesPod(pod, verdict.pod);
}

/** Unique among thousands of ids; commands accept prefixes of this length. */
export const SHORT_ID = 10;
export const shortId = (id: string) => id.slice(0, SHORT_ID);

export function verdictJson({ verdict, sequence, storedAtMicros }: VerdictRow): Record<string, unknown> {
  const { triggeredAt, windowStartAt, ...rest } = verdict;
  return {
    sequence,
    storedAt: isoMicros(storedAtMicros),
    triggeredAt: isoMicros(triggeredAt),
    windowStartAt: isoMicros(windowStartAt),
    ...rest,
  };
}
