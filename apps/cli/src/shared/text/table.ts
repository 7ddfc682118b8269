/**
 * Tables: aligned columns under a heading, fitted to the terminal. Pure.
 *
 * On a terminal, `spare` columns are shown only if there is room beside all others. If the others
 * do not fit, columns with `min` are shortened, the widest first. Without a terminal, nothing is
 * shortened or omitted.
 */
import { clean, shorten, shortenWithin, widthOf } from './clean.ts';
import { type Paint, plain, type Style } from './paint.ts';

export interface Column {
  title: string;
  align?: 'right';
  /** Shortest width; without it, the column is never shortened. */
  min?: number;
  /** Shorten in the middle, for generated names. */
  cut?: 'within';
  /** Omitted if there is no room. */
  spare?: boolean;
}

export type Cell = string | { text: string; style: Style };

/** Options of renderers: terminal width (0 = no limit), time and colours. */
export interface RenderOptions {
  width: number;
  nowMs: number;
  paint?: Paint;
}

export interface TableOptions {
  /** Columns of the terminal; 0 = no limit. */
  width: number;
  paint?: Paint;
  heading?: boolean;
  /** Prefix of each line. */
  indent?: string;
}

const GAP = '  ';
const textOf = (cell: Cell | undefined) => clean(typeof cell === 'object' ? cell.text : (cell ?? ''));

export interface Layout {
  /** Width of each column; null = omitted. */
  widths: (number | null)[];
}

/** Chooses widths that fit the given rows. */
export function layOut(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
  indent = 0,
): Layout {
  const wanted = columns.map((column, index) =>
    rows.reduce((widest, row) => Math.max(widest, widthOf(textOf(row[index]))), widthOf(column.title)),
  );
  if (width <= 0) return { widths: wanted };
  const widths = columns.map(({ spare }, index) => (spare ? null : (wanted[index] as number)));
  const room = () => {
    const shown = widths.filter((w) => w !== null);
    return width - indent - shown.reduce((sum, w) => sum + w, 0) - GAP.length * Math.max(0, shown.length - 1);
  };
  shrink(columns, widths, -room());
  columns.forEach(({ spare, min }, index) => {
    const full = wanted[index] as number;
    const free = room() - GAP.length;
    if (spare && free >= Math.min(full, min ?? full)) widths[index] = Math.min(full, free);
  });
  return { widths };
}

/**
 * Shortens the widest column that may be shortened, one character at a time, until the excess is
 * gone.
 */
function shrink(columns: readonly Column[], widths: (number | null)[], excess: number): void {
  for (let left = excess; left > 0; left -= 1) {
    let at = -1;
    columns.forEach(({ min }, index) => {
      const width = widths[index] ?? 0;
      if (min !== undefined && width > min && (at < 0 || width > (widths[at] ?? 0))) at = index;
    });
    if (at < 0) return;
    widths[at] = (widths[at] as number) - 1;
  }
}

/** One line; the last column is not padded. */
export function renderRow(
  columns: readonly Column[],
  { widths }: Layout,
  row: readonly Cell[],
  options: TableOptions,
  headingStyle?: Style,
): string {
  const paint = options.paint ?? plain;
  const shown = columns.map((_, index) => index).filter((index) => widths[index] !== null);
  const last = shown.at(-1);
  const cells = shown.map((index) => {
    const width = widths[index] as number;
    const column = columns[index] as Column;
    const whole = textOf(row[index]);
    const cut = column.cut === 'within' ? shortenWithin : shorten;
    const text = column.min === undefined || options.width <= 0 ? whole : cut(whole, width);
    const gap = ' '.repeat(Math.max(0, width - widthOf(text)));
    const cell = row[index];
    const style = headingStyle ?? (typeof cell === 'object' ? cell.style : undefined);
    const painted = style ? paint(text, style) : text;
    if (column.align === 'right') return gap + painted;
    return index === last ? painted : painted + gap;
  });
  return (options.indent ?? '') + cells.join(GAP).trimEnd();
}

/** The whole table as lines. */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[], options: TableOptions): string[] {
  const layout = layOut(columns, rows, options.width, options.indent?.length ?? 0);
  const lines = rows.map((row) => renderRow(columns, layout, row, options));
  if (options.heading === false) return lines;
  return [headingOf(columns, layout, options), ...lines];
}

export function headingOf(columns: readonly Column[], layout: Layout, options: TableOptions): string {
  const titles = columns.map(({ title }) => title);
  return renderRow(columns, layout, titles, options, 'dim');
}
