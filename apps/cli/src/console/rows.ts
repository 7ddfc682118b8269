/** Rows of verdicts and responses, and the namespaces that they belong to. Pure. */
import { podOf, type ResponseRow, type VerdictRow } from '@bailiff/insight';
import type { Response, Verdict } from '@bailiff/schemas';
import { RESPONSE_COLUMNS, responseCells } from '../shared/rows/response-cells.ts';
import { VERDICT_COLUMNS, verdictCells } from '../shared/rows/verdict-cells.ts';
import { podLink, rowOf, verdictLink } from './tables.ts';

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
