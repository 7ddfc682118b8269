/**
 * A timeline for terminals: five lanes of one line each, then a table of the items. Pure. Foreign
 * text is escaped.
 */

import type { Timeline } from '@bailiff/insight';
import { Axis, afterOf, clockTime, LANES, type Lane, originOf, type TimelineItem, type Tone } from '@bailiff/insight';
import { clean, shorten, widthOf, wrap } from '../../shared/text/clean.ts';
import { type Paint, plain, type Style } from '../../shared/text/paint.ts';
import { type Cell, type Column, type RenderOptions, table } from '../../shared/text/table.ts';

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
