/** Columns and cells of the CLI as tables of the console. Pure. */
import type { ColumnView, RowView, TableView } from '@bailiff/console';
import type { Cell, Column } from '../shared/text/table.ts';

export const columnsOf = (columns: readonly Column[]): ColumnView[] =>
  columns.map(({ title, align, spare, min }) => ({
    title,
    ...(align ? { align } : {}),
    ...(spare ? { spare } : {}),
    ...(min === undefined ? {} : { long: true }),
  }));

/** Links by the title of their column. Empty ones are omitted. */
export function rowOf(
  columns: readonly Pick<Column, 'title'>[],
  key: string,
  cells: Cell[],
  links: Readonly<Record<string, string>> = {},
): RowView {
  const byIndex: Record<number, string> = {};
  columns.forEach(({ title }, index) => {
    if (links[title]) byIndex[index] = links[title];
  });
  return { key, cells, ...(Object.keys(byIndex).length > 0 ? { links: byIndex } : {}) };
}

/** The first rows, and the number of the others. */
export function tableOf(columns: readonly Column[], rows: readonly RowView[], most: number): TableView {
  const shown = rows.slice(0, most);
  return { columns: columnsOf(columns), rows: shown, omitted: rows.length - shown.length };
}

const query = (path: string, values: Readonly<Record<string, string>>): string =>
  `${path}?${new URLSearchParams(values).toString()}`;

export const podLink = (pod: { namespace: string; name: string } | null): string =>
  pod && pod.name !== '' ? query('/pod', { pod: `${pod.namespace}/${pod.name}` }) : '';
export const verdictLink = (id: string): string => (id === '' ? '' : query('/verdict', { id }));
export const keyLink = (key: string): string => query('/history', { key, since: 'all' });
