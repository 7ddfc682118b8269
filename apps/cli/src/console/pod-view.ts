/** What `bailiff timeline <pod>` and `bailiff explain <pod>` print, as a view of the console. Pure. */
import type { PodView } from '@bailiff/console';
import {
  afterOf,
  clockTime,
  LANES,
  originOf,
  type PodViolations,
  restText,
  type Timeline,
  type VerdictRow,
} from '@bailiff/insight';
import { SUMMARY_COLUMNS, summaryCells } from '../shared/rows/chain.ts';
import { keyLink, rowOf, tableOf, verdictLink } from './tables.ts';

/** The newest items are shown. */
const MAX_ITEMS = 1_000;
const MAX_GROUPS = 100;

export interface PodReadings {
  pod: string;
  since: string;
  timeline: Timeline;
  seen: PodViolations;
  /** Those that the visitor may see, as in the timeline. */
  verdicts: readonly VerdictRow[];
  notes: readonly string[];
  nowMs: number;
}

/** The key of a change comes first. */
const keyIn = (what: string): string => what.split(' ')[0] ?? '';

export function podView({ pod, since, timeline, seen, verdicts, notes, nowMs }: PodReadings): PodView {
  const { title, facts, items } = timeline;
  const idBySequence = new Map(verdicts.map(({ sequence, verdict }) => [`VERDICTS #${sequence}`, verdict.verdictId]));
  const origin = originOf(items);
  const shown = items.slice(-MAX_ITEMS);
  const rest = restText(seen.tally.rest);
  const older = items.length - shown.length;
  const range = since === '1d' ? '' : ` --since ${since}`;
  return {
    title,
    facts,
    lanes: [...LANES],
    notes: [
      ...timeline.notes,
      ...(older > 0 ? [`${older} older items are omitted: the command prints them.`] : []),
      ...(rest === '' ? [] : [rest]),
      ...notes,
    ],
    items: shown.map(({ atMicros, untilMicros, lane, what, detail, tone, weight, place }) => ({
      atMicros,
      untilMicros,
      lane,
      what,
      detail,
      tone,
      weight,
      place,
      at: clockTime(atMicros, nowMs),
      after: afterOf(atMicros, origin),
      link: lane === 'config' ? keyLink(keyIn(what)) : verdictLink(idBySequence.get(place) ?? ''),
    })),
    violations: tableOf(
      SUMMARY_COLUMNS,
      seen.tally
        .groups()
        .map((group) => rowOf(SUMMARY_COLUMNS, `${group.key.vector} ${group.key.action}`, summaryCells(group, nowMs))),
      MAX_GROUPS,
    ),
    command: `bailiff timeline ${pod}${range}`,
    explainCommand: `bailiff explain ${pod}${range}`,
  };
}
