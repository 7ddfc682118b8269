/** Verdicts as table rows. Pure. */
import { clockTime, shortId, type VerdictRow } from '@bailiff/insight';
import type { Level } from '@bailiff/policy';
import { podName } from '@bailiff/response';
import type { Style } from '../text/paint.ts';
import type { Cell, Column } from '../text/table.ts';

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
  { title: 'POD' },
  { title: 'RULE' },
  { title: 'SEEN/NEEDED', align: 'right', spare: true },
  { title: 'ID' },
  { title: 'VECTORS', min: 11, spare: true },
  { title: 'NODE', spare: true },
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
