/** Verdicts as table rows and JSON lines. Pure. */
import { LEVELS, type Level } from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';
import { matchesPod, type PodSelector, podName } from '../arguments.ts';
import type { Style } from '../text/paint.ts';
import type { Cell, Column } from '../text/table.ts';
import { clockTime, isoMicros } from '../text/time.ts';

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

const STYLES: Record<Level, Style> = {
  informational: 'dim',
  low: 'cyan',
  medium: 'yellow',
  high: 'red',
  critical: 'red',
};
export const levelCell = (level: Level): Cell => ({ text: level, style: STYLES[level] });

export const VERDICT_COLUMNS: readonly Column[] = [
  { title: 'TIME (UTC)' },
  { title: 'LEVEL' },
  { title: 'POD', min: 14, cut: 'within' },
  { title: 'RULE', min: 10 },
  { title: 'SEEN/NEEDED', align: 'right' },
  { title: 'ID' },
  { title: 'VECTORS', min: 11, spare: true },
  { title: 'NODE', min: 10, spare: true },
  { title: 'SEQ', align: 'right', spare: true },
];

export function verdictCells({ verdict, sequence }: VerdictRow, nowMs: number): Cell[] {
  return [
    clockTime(verdict.triggeredAt, nowMs),
    levelCell(verdict.level),
    verdict.pod ? podName(verdict.pod) : `node ${verdict.nodeName}`,
    verdict.rule,
    `${verdict.observed}/${verdict.threshold}`,
    shortId(verdict.verdictId),
    verdict.vectors.join(','),
    verdict.nodeName,
    `#${sequence}`,
  ];
}

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
