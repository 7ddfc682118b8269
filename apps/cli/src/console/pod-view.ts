/**
 * The page Pod, and its file: what `bailiff timeline <pod>` and `bailiff explain <pod>` print, as far as a visitor may
 * see it.
 */
import type { FileView, MaySee, PodRequest, PodView } from '@bailiff/console';
import {
  afterOf,
  clockTime,
  isoMicros,
  LANES,
  originOf,
  type PodViolations,
  type Reader,
  readTimeline,
  restText,
  type Timeline,
  type VerdictRow,
  verdictsOfPod,
  violationsOfPod,
} from '@bailiff/insight';
import { parsePod } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import { SUMMARY_COLUMNS, summaryCells } from '../shared/rows/chain.ts';
import { timelineHtml } from '../shared/rows/timeline-html.ts';
import { notesFor, startOf } from './reading.ts';
import { keyLink, namespaceOfVerdict, rowOf, tableOf, verdictLink } from './tables.ts';

/** The newest items are shown. */
const MAX_ITEMS = 1_000;
const MAX_GROUPS = 100;

interface PodReadings {
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

function podView({ pod, since, timeline, seen, verdicts, notes, nowMs }: PodReadings): PodView {
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

type Own = Reader & { notes: string[] };

/** @throws CliError CLI_NOT_FOUND for a pod outside the scope: whether it exists is not said */
async function readLife(own: Own, { pod: text, namespace, since }: PodRequest, maySee: MaySee) {
  const parsed = parsePod(text, 'pod');
  const pod = { ...parsed, namespace: parsed.namespace ?? namespace };
  if (!maySee(pod.namespace)) {
    throw new CliError('CLI_NOT_FOUND', 'there is no such pod in a namespace that you may see', {
      remedy: 'write it as namespace/name',
    });
  }
  const sinceMs = await startOf(own, since);
  const [timeline, all] = await Promise.all([
    readTimeline(own, { pod, sinceMs, untilMs: Number.POSITIVE_INFINITY, verdict: null, maySee }),
    verdictsOfPod(own, pod, sinceMs),
  ]);
  const verdicts = all.filter(({ verdict }) => maySee(namespaceOfVerdict(verdict)));
  const places = new Set(verdicts.map(({ sequence }) => `VERDICTS #${sequence}`));
  const items = timeline.items.filter(({ lane, place }) => lane !== 'verdicts' || maySee(null) || places.has(place));
  return { pod, sinceMs, timeline: { ...timeline, items }, verdicts };
}

export async function readPod(own: Own, request: PodRequest, maySee: MaySee): Promise<PodView> {
  const { pod, sinceMs, timeline, verdicts } = await readLife(own, request, maySee);
  const seen = await violationsOfPod(own, pod, sinceMs);
  own.decoder.reportUndecodable(own);
  const { pod: text, since } = request;
  return podView({ pod: text, since, timeline, seen, verdicts, notes: notesFor(own, maySee), nowMs: own.nowMs() });
}

/** The life as one file for any browser: what `bailiff timeline --html` writes. */
export async function readPodFile(own: Own, request: PodRequest, maySee: MaySee): Promise<FileView> {
  const { timeline } = await readLife(own, request, maySee);
  own.decoder.reportUndecodable(own);
  const notes = [...timeline.notes, ...notesFor(own, maySee)];
  const made = `created ${isoMicros(own.nowMs() * 1000).slice(0, 19)} UTC`;
  return { name: `${fileName(request.pod)}.html`, file: timelineHtml({ ...timeline, notes }, made) };
}

const fileName = (text: string): string => text.replaceAll(/[^\w.-]+/g, '-').slice(0, 100);
