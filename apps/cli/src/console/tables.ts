/** Columns and cells of the CLI as tables of the console, and the namespaces that rows belong to. Pure. */
import type { ColumnView, RowView, TableView } from '@bailiff/console';
import { podOf, type ResponseRow, type VerdictRow } from '@bailiff/insight';
import type { Response, Verdict } from '@bailiff/schemas';
import { RESPONSE_COLUMNS, responseCells } from '../shared/rows/response-cells.ts';
import { VERDICT_COLUMNS, verdictCells } from '../shared/rows/verdict-cells.ts';
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

export const responseRow = (row: ResponseRow) => (nowMs: number) =>
  rowOf(RESPONSE_COLUMNS, String(row.sequence), responseCells(row, nowMs), {
    POD: podLink(podOf(row.response)),
    VERDICT: verdictLink(row.response.verdictId),
  });

export const verdictRow = (row: VerdictRow) => (nowMs: number) =>
  rowOf(VERDICT_COLUMNS, String(row.sequence), verdictCells(row, nowMs), {
    POD: podLink(row.verdict.pod),
    RULE: verdictLink(row.verdict.verdictId),
    ID: verdictLink(row.verdict.verdictId),
  });

/**
 * Null: of a node. One that groups by node counts the pods of all namespaces there, and its pod is the last
 * of them.
 */
export const namespaceOfVerdict = ({ groupBy, pod }: Verdict): string | null =>
  groupBy === 'node' ? null : (pod?.namespace ?? null);

/** Null: of a node. */
export const namespaceOf = ({ podNamespace }: Response): string | null => (podNamespace === '' ? null : podNamespace);
