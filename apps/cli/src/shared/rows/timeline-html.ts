/**
 * A timeline as one self-contained HTML file, without scripts, fonts or images, and with a content
 * security policy that forbids them. Pure. Every text is escaped, because pods control names, comms
 * and reasons.
 */

import type { Timeline } from '@bailiff/insight';
import { Axis, afterOf, isoMicros, LANES, type Lane, originOf, type TimelineItem } from '@bailiff/insight';
import { clean } from '../text/clean.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Escapes text for elements and attributes. Characters that reorder or hide text appear as codes.
 */
export function escapeHtml(text: string): string {
  return clean(text).replaceAll(/[&<>"']/g, (c) => ENTITIES[c] as string);
}

const LEFT = 110;
const RIGHT = 990;
const LANE_HEIGHT = 56;
const TOP = 34;
const HEIGHT = TOP + LANES.length * LANE_HEIGHT + 8;
/** Share of the width that `12:03:04.123` needs. */
const TICK_DISTANCE = 0.12;
/** With more marks, numbers would overlap them. */
const MOST_NUMBERED = 60;

const timeOf = (micros: number) => isoMicros(micros).slice(11, 23);
const dayOf = (micros: number) => isoMicros(micros).slice(0, 10);
const middleOf = (lane: Lane) => TOP + LANES.indexOf(lane) * LANE_HEIGHT + LANE_HEIGHT / 2 + 6;

/** Bursts of different vectors are stacked in three rows. */
const ROWS = 3;
/** Smallest distance of two numbers. */
const NUMBER_WIDTH = 14;

class Marks {
  readonly #axis: Axis;
  readonly #numbered: boolean;
  readonly #rows = new Map<string, number>();
  readonly #numberedTo = new Map<string, number>();

  constructor(axis: Axis, numbered: boolean) {
    this.#axis = axis;
    this.#numbered = numbered;
  }

  #x(micros: number): number {
    return LEFT + this.#axis.at(micros) * (RIGHT - LEFT);
  }

  /** The number above a mark (beside a bar), if there is room. */
  #number(number: number, row: string, x: number, y: number): string {
    if (!this.#numbered || x - (this.#numberedTo.get(row) ?? 0) < NUMBER_WIDTH) return '';
    this.#numberedTo.set(row, x);
    return `<text class="n" x="${x.toFixed(1)}" y="${y.toFixed(1)}">${number}</text>`;
  }

  of(item: TimelineItem, number: number): string {
    const x = this.#x(item.atMicros);
    const y = middleOf(item.lane);
    const title = `<title>${number}. ${escapeHtml(`${timeOf(item.atMicros)} ${item.what}. ${item.detail}`)}</title>`;
    const shape = item.lane === 'violations' ? this.#bar(item, number, x, y) : this.#point(item.lane, number, x, y);
    return `<a href="#i${number}" class="t-${item.tone}">${title}${shape}</a>`;
  }

  #point(lane: Lane, number: number, x: number, y: number): string {
    const at = x.toFixed(1);
    const label = this.#number(number, lane, x, y - 14);
    if (lane === 'verdicts') return `<path d="M${at} ${y - 8}l8 8l-8 8l-8 -8z"/>${label}`;
    if (lane === 'config') return `<rect x="${(x - 6).toFixed(1)}" y="${y - 6}" width="12" height="12"/>${label}`;
    return `<circle cx="${at}" cy="${y}" r="7"/>${label}`;
  }

  #bar({ what, untilMicros, weight }: TimelineItem, number: number, x: number, y: number): string {
    const row = this.#rows.get(what) ?? this.#rows.size;
    this.#rows.set(what, row);
    const width = Math.max(7, this.#x(untilMicros) - x);
    const height = Math.min(13, 5 + 2 * Math.log10(Math.max(1, weight)));
    const bottom = y - 9 + (row % ROWS) * 15;
    const label = this.#number(number, `row ${row % ROWS}`, x - 11, bottom - 1);
    return `<rect x="${(x - 3).toFixed(1)}" y="${(bottom - height).toFixed(1)}" width="${width.toFixed(1)}" height="${height.toFixed(1)}" rx="2"/>${label}`;
  }
}

function picture(items: readonly TimelineItem[]): string {
  const axis = new Axis(items);
  const lanes = LANES.map((lane, index) => {
    const y = TOP + index * LANE_HEIGHT;
    return `<rect class="lane${index % 2}" x="0" y="${y}" width="1000" height="${LANE_HEIGHT}"/><text class="l" x="8" y="${y + LANE_HEIGHT / 2 + 5}">${lane}</text>`;
  });
  const ticks = axis.ticks(TICK_DISTANCE).map((tick) => {
    const x = LEFT + axis.at(tick) * (RIGHT - LEFT);
    const anchor = axis.at(tick) > 0.9 ? 'end' : axis.at(tick) < 0.05 ? 'start' : 'middle';
    return `<line x1="${x.toFixed(1)}" x2="${x.toFixed(1)}" y1="${TOP - 6}" y2="${HEIGHT - 8}"/><text class="k" text-anchor="${anchor}" x="${x.toFixed(1)}" y="18">${timeOf(tick)}</text>`;
  });
  const marker = new Marks(axis, items.length <= MOST_NUMBERED);
  const marks = items.map((item, index) => marker.of(item, index + 1));
  return `<svg viewBox="0 0 1000 ${HEIGHT}" role="img" aria-label="five lanes on a time axis; the table below has the same items">${lanes.join('')}${ticks.join('')}${marks.join('')}</svg>`;
}

function rowsOf(items: readonly TimelineItem[]): string {
  const origin = originOf(items);
  let day = '';
  const rows = items.map((item, index) => {
    const { atMicros, lane, what, detail, tone, place } = item;
    const today = dayOf(atMicros);
    const head = today === day ? '' : `<tr class="day"><th colspan="6">${today} UTC</th></tr>`;
    day = today;
    const cells = [timeOf(atMicros), afterOf(atMicros, origin), lane]
      .map((cell) => `<td>${escapeHtml(cell)}</td>`)
      .join('');
    return `${head}<tr id="i${index + 1}"><td class="n">${index + 1}</td>${cells}<td><b class="t-${tone}">${escapeHtml(what)}</b><br>${escapeHtml(detail)}</td><td class="p">${escapeHtml(place)}</td></tr>`;
  });
  return `<table><thead><tr><th></th><th>time</th><th>after</th><th>lane</th><th>what</th><th>on the bus</th></tr></thead><tbody>${rows.join('\n')}</tbody></table>`;
}

const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#646c75;--line:#d8dde3;--band:#f5f7f9;--good:#1a7f4b;--warn:#a86400;--bad:#c4242b;--act:#1c63c7;--plain:#5b636c}
@media(prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e6e9ec;--dim:#98a1aa;--line:#333a42;--band:#1c2025;--good:#54c98b;--warn:#e5a94a;--bad:#ff7a7a;--act:#75aefc;--plain:#a3acb5}}
body{margin:0 auto;max-width:1120px;padding:24px;background:var(--bg);color:var(--fg);font:15px/1.45 system-ui,sans-serif}
h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}p{margin:2px 0;color:var(--dim);overflow-wrap:anywhere}p.note{color:var(--warn)}
.pic{overflow-x:auto;margin:20px 0 4px}svg{display:block;width:100%;min-width:760px;font-size:13px}
svg .lane0{fill:var(--band)}svg .lane1{fill:none}svg text{fill:var(--fg)}svg .l{font-weight:600}svg .k{fill:var(--dim);font-size:12px}svg .n{text-anchor:middle;font-size:10px;fill:var(--dim)}
svg a rect,svg a path,svg a circle{stroke:var(--bg)}svg line{stroke:var(--line);stroke-dasharray:2 3}svg a:hover,svg a:focus{opacity:.65}
${['good', 'warn', 'bad', 'act', 'plain'].map((tone) => `svg .t-${tone}{fill:var(--${tone})}b.t-${tone}{color:var(--${tone})}`).join('')}
table{border-collapse:collapse;width:100%;margin-top:16px;font-size:14px}th{text-align:left;color:var(--dim);font-weight:600}
td,th{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}td{overflow-wrap:anywhere}td:nth-child(2),td:nth-child(3),td:nth-child(4),td.p{white-space:nowrap;font-variant-numeric:tabular-nums}
td.n,td.p{color:var(--dim)}tr.day th{padding-top:14px;color:var(--fg)}tr:target{background:var(--band);outline:2px solid var(--act)}
`;

/** The whole file. @param made footer text with the time of creation */
export function timelineHtml({ title, facts, items, notes }: Timeline, made: string): string {
  const name = escapeHtml(title);
  const body =
    items.length === 0
      ? '<p>No events in this range.</p>'
      : `<div class="pic">${picture(items)}</div><p>Times are UTC. Distances grow with the logarithm of the time between two marks; a bar is a burst of violations, as high as the logarithm of its packets. Each mark links to its row; “after” is relative to the first violation.</p>${rowsOf(items)}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>${name}: timeline</title><style>${STYLE}</style></head>
<body><h1>${name}</h1>
${facts.map((fact) => `<p>${escapeHtml(fact)}</p>`).join('')}${notes.map((note) => `<p class="note">${escapeHtml(note)}</p>`).join('')}
${body}
<p>bailiff timeline, ${escapeHtml(made)}</p></body></html>
`;
}
