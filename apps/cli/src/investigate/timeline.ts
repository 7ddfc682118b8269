/**
 * A timeline for terminals: five lanes of one line each, then a table of the items. Pure. Foreign
 * text is escaped.
 */

import { writeFile } from 'node:fs/promises';
import {
  Axis,
  afterOf,
  clockTime,
  isoMicros,
  LANES,
  type Lane,
  originOf,
  readBusTime,
  readTimeline,
  type Timeline,
  type TimelineItem,
  type TimelineRequest,
  type Tone,
} from '@bailiff/insight';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { isVerdictId, verdictById } from '../shared/one-of.ts';
import { timelineHtml } from '../shared/rows/timeline-html.ts';
import { onBus, type Session } from '../shared/session.ts';
import { clean, shorten, widthOf, wrap } from '../shared/text/clean.ts';
import { type Paint, plain, type Style } from '../shared/text/paint.ts';
import { type Cell, type Column, type RenderOptions, table } from '../shared/text/table.ts';

const STYLES: Record<Tone, Style | null> = { plain: null, good: 'green', warn: 'yellow', bad: 'red', act: 'cyan' };
const BLOCKS = '▁▂▃▄▅▆▇█';
const LABEL = 12;
/** Lane width without a terminal, and on very wide ones. */
const MOST_COLUMNS = 100;
const TICK_DISTANCE = 16;

/** Height of a burst: one step per factor of four. */
const blockOf = (weight: number): string =>
  BLOCKS[Math.min(7, Math.floor(Math.log2(Math.max(1, weight)) / 2))] as string;

function laneLine(lane: Lane, items: readonly TimelineItem[], axis: Axis, columns: number, paint: Paint): string {
  const cells: { mark: string; tone: Tone; count: number; weight: number }[] = Array.from({ length: columns }, () => ({
    mark: ' ',
    tone: 'plain',
    count: 0,
    weight: 0,
  }));
  const columnOf = (micros: number) => Math.round(axis.at(micros) * (columns - 1));
  for (const one of items.filter((item) => item.lane === lane)) {
    for (let at = columnOf(one.atMicros); at <= columnOf(one.untilMicros); at++) {
      const cell = cells[at] as (typeof cells)[number];
      cell.count += 1;
      cell.weight += one.weight;
      if (cell.tone === 'plain' || one.tone === 'bad') cell.tone = one.tone;
      if (lane === 'violations') cell.mark = blockOf(cell.weight);
      else cell.mark = cell.count === 1 ? '●' : cell.count > 9 ? '+' : String(cell.count);
    }
  }
  const marks = cells.map(({ mark, tone }) => {
    const style = STYLES[tone];
    return style && mark !== ' ' ? paint(mark, style) : mark;
  });
  return paint(lane.padEnd(LABEL), 'dim') + marks.join('').trimEnd();
}

function axisLine(axis: Axis, columns: number, nowMs: number): string {
  let line = '';
  for (const tick of axis.ticks(TICK_DISTANCE / columns)) {
    const at = Math.round(axis.at(tick) * (columns - 1));
    const text = clockTime(tick, nowMs);
    const from = Math.min(at, columns - widthOf(text));
    if (from < line.length + (line === '' ? 0 : 1)) continue;
    line = line.padEnd(from) + text;
  }
  return ' '.repeat(LABEL) + line;
}

const COLUMNS: readonly Column[] = [
  { title: 'TIME (UTC)' },
  { title: 'AFTER', align: 'right' },
  { title: 'LANE' },
  { title: 'WHAT', min: 16 },
  { title: 'DETAIL', min: 16 },
  { title: 'ON THE BUS', spare: true },
];

export function renderTimeline({ title, facts, items, notes }: Timeline, options: RenderOptions): string[] {
  const { width, nowMs, paint = plain } = options;
  const room = Math.max(0, width);
  const lines = [paint(shorten(clean(title), room || 10_000), 'bold')];
  for (const fact of facts)
    lines.push(...wrap(clean(fact), Math.max(0, room - 2)).map((line) => paint(`  ${line}`, 'dim')));
  for (const note of notes) lines.push(...wrap(clean(note), Math.max(0, room - 2)).map((line) => `  ${line}`));
  if (items.length === 0) return [...lines, '', 'No events in this range.'];
  const axis = new Axis(items);
  const columns = Math.max(20, Math.min(MOST_COLUMNS, (room || MOST_COLUMNS) - LABEL));
  lines.push('', axisLine(axis, columns, nowMs));
  for (const lane of LANES) lines.push(laneLine(lane, items, axis, columns, paint));
  lines.push(paint(`${' '.repeat(LABEL)}logarithmic time axis`.slice(0, room || undefined), 'dim'), '');
  const origin = originOf(items);
  const rows = items.map(({ atMicros, lane, what, detail, tone, place }): Cell[] => {
    const style = STYLES[tone];
    return [
      clockTime(atMicros, nowMs),
      afterOf(atMicros, origin),
      lane,
      style ? { text: what, style } : what,
      detail,
      place,
    ];
  });
  return [...lines, ...table(COLUMNS, rows, { width, paint })];
}

interface Options {
  namespace?: string;
  since?: string;
  until?: string;
  html?: string;
  json?: boolean;
}

const DEFAULT_SINCE = '1d';
/** Range around a verdict. */
const BEFORE_VERDICT_MS = 10 * 60_000;
const AFTER_VERDICT_MS = 60 * 60_000;

const EXAMPLES = `
Examples:
  bailiff timeline shop/web-0                         one day of a pod
  bailiff timeline 5f1d3c7a9b                         from ten minutes before a verdict to an hour after it
  bailiff timeline shop/web-0 --html web-0.html       one self-contained file for any browser

Lanes: lifecycle of the pod, configuration changes that can affect it, violations, verdicts, responses.
`;

async function requestOf(session: Session, what: string, options: Options): Promise<TimelineRequest> {
  const nowMs = await readBusTime(session);
  const when = (text: string | undefined, flag: string, otherwise: number) =>
    text === undefined ? otherwise : parseWhen(text, flag)(nowMs);
  if (options.namespace !== undefined || !isVerdictId(what)) {
    const sinceMs = when(options.since ?? DEFAULT_SINCE, '--since', 0);
    const pod = parsePod(what, 'pod', options.namespace);
    return { pod, sinceMs, untilMs: when(options.until, '--until', Number.POSITIVE_INFINITY), verdict: null };
  }
  const verdict = await verdictById(session, what);
  const { pod, windowStartAt, triggeredAt } = verdict.verdict;
  return {
    pod: pod && { text: `${pod.namespace}/${pod.name}`, namespace: pod.namespace, name: pod.name, uid: pod.uid },
    sinceMs: when(options.since, '--since', windowStartAt / 1000 - BEFORE_VERDICT_MS),
    untilMs: when(options.until, '--until', triggeredAt / 1000 + AFTER_VERDICT_MS),
    verdict,
  };
}

async function timeline(session: Session, what: string, options: Options): Promise<void> {
  const { out, io, decoder } = session;
  const found = await readTimeline(session, await requestOf(session, what, options));
  decoder.reportUndecodable(out);
  if (found.items.every(({ lane }) => lane === 'config')) {
    throw new CliError('CLI_NOT_FOUND', `no event of "${what}" in this range`, {
      remedy: 'check the name, or extend the range with --since',
    });
  }
  if (options.json) {
    out.json({ ...found, items: found.items.map((item) => jsonOf(item)) });
  } else if (options.html !== undefined) {
    const html = timelineHtml(found, `created ${isoMicros(io.nowMs() * 1000).slice(0, 19)} UTC`);
    if (options.html === '-') io.stdout.write(html);
    else {
      await writeFile(options.html, html);
      out.note(`wrote ${options.html}`);
    }
  } else out.lines(renderTimeline(found, { ...out.table, nowMs: io.nowMs() }));
}

function jsonOf({ atMicros, untilMicros, ...item }: Awaited<ReturnType<typeof readTimeline>>['items'][number]) {
  return { at: isoMicros(atMicros), until: isoMicros(untilMicros), ...item };
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('timeline')
    .description('lifecycle, configuration, violations, verdicts and responses of a pod, in time order')
    .argument('<pod|verdict>', 'namespace/name, name or uid of a pod; or a verdict id or its first characters')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--since <when>', `start: 10m, 2h, 7d (ago), an ISO time, or "all" (default for a pod: ${DEFAULT_SINCE})`)
    .option('--until <when>', 'end')
    .option('--html <file>', 'write one self-contained HTML file; - for stdout')
    .option('--json', 'one JSON document')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options, what: string) => {
    if (!isVerdictId(what) || options.namespace !== undefined) parsePod(what, 'pod', options.namespace);
    parseWhen(options.since ?? DEFAULT_SINCE, '--since');
    parseWhen(options.until ?? 'all', '--until');
    return (session) => timeline(session, what, options);
  });
}
