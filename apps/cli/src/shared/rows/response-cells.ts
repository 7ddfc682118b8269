/** Responses as table rows. Pure. */
import { clockTime, podOf, type ResponseRow, responseText, shortId } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { Response } from '@bailiff/schemas';
import type { Style } from '../text/paint.ts';
import type { Cell, Column } from '../text/table.ts';

const STYLES: Record<Response['phase'], Style> = {
  pending: 'yellow',
  approved: 'green',
  started: 'dim',
  succeeded: 'green',
  dryrun: 'cyan',
  refused: 'yellow',
  failed: 'red',
  undone: 'dim',
};
export const phaseStyle = (phase: Response['phase']): Style => STYLES[phase];

export const RESPONSE_COLUMNS: readonly Column[] = [
  { title: 'TIME (UTC)' },
  { title: 'POD' },
  { title: 'ACTION' },
  { title: 'PHASE' },
  { title: 'ID' },
  { title: 'WHY', min: 12 },
  { title: 'VERDICT', spare: true },
  { title: 'SEQ', align: 'right', spare: true },
];

export function responseCells({ response, sequence }: ResponseRow, nowMs: number): Cell[] {
  return [
    clockTime(response.recordedAt, nowMs),
    response.podName === '' ? `node ${response.nodeName}` : podName(podOf(response)),
    response.action,
    { text: response.phase, style: STYLES[response.phase] },
    shortId(response.responseId),
    responseText(response, nowMs),
    shortId(response.verdictId),
    `#${sequence}`,
  ];
}
