/**
 * Tables: aligned columns under a heading, fitted to the terminal. Pure.
 *
 * On a terminal, columns that may be shortened give way first (the widest first, down to `min`), then columns marked `spare` are
 * left out, the last one first. Without a terminal nothing is shortened and nothing left out: what is piped is whole.
 */
import { clean, shorten, widthOf } from './clean.ts';
import { type Paint, plain, type Style } from './paint.ts';

export interface Column {
  title: string;
  align?: 'right';
  /** May be shortened to this many characters; without it never. */
  min?: number;
  /** May be left out when there is no room. */
  spare?: boolean;
}

export type Cell = string | { text: string; style: Style };

export interface TableOptions {
  /** Columns of the terminal; 0 = no limit. */
  width: number;
  paint?: Paint;
  heading?: boolean;
  /** Put before each line. */
  indent?: string;
}

const GAP = '  ';
const textOf = (cell: Cell | undefined) => clean(typeof cell === 'object' ? cell.text : (cell ?? ''));

export interface Layout {
  /** Width of each column; null = left out. */
  widths: (number | null)[];
}

/** Chooses widths for what there is to show. */
export function layOut(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
  indent = 0,
): Layout {
  const widths: (number | null)[] = columns.map((column, index) =>
    rows.reduce((widest, row) => Math.max(widest, widthOf(textOf(row[index]))), widthOf(column.title)),
  );
  if (width <= 0) return { widths };
  const total = () => {
    const shown = widths.filter((w) => w !== null);
    return indent + shown.reduce((sum, w) => sum + w, 0) + GAP.length * Math.max(0, shown.length - 1);
  };
  shrink(columns, widths, () => total() - width);
  for (let index = columns.length - 1; index >= 0 && total() > width; index -= 1) {
    if (!columns[index]?.spare) continue;
    widths[index] = null;
  }
  return { widths };
}

/** Takes from the widest of those that may be shortened until nothing is over or nothing is left to take. */
function shrink(columns: readonly Column[], widths: (number | null)[], over: () => number): void {
  for (let excess = over(); excess > 0; excess = over()) {
    let at = -1;
    columns.forEach(({ min }, index) => {
      const width = widths[index] ?? 0;
      if (min !== undefined && width > min && (at < 0 || width > (widths[at] ?? 0))) at = index;
    });
    if (at < 0) return;
    const floor = Math.max(columns[at]?.min ?? 0, secondWidest(columns, widths, at));
    const width = widths[at] ?? 0;
    widths[at] = Math.max(width - excess, Math.min(width - 1, floor));
  }
}

function secondWidest(columns: readonly Column[], widths: readonly (number | null)[], except: number): number {
  return columns.reduce(
    (widest, { min }, index) =>
      min !== undefined && index !== except && (widths[index] ?? 0) > min
        ? Math.max(widest, widths[index] ?? 0)
        : widest,
    0,
  );
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
    const text = column.min === undefined || options.width <= 0 ? whole : shorten(whole, width);
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
