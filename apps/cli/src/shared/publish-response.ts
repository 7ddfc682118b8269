/** Writing a record of an operator's decision into RESPONSES: once, under the subject of its response. */
import { cloudEventHeaders, publishOnce, responseSubject } from '@bailiff/bus';
import { cutTexts, encodeResponse, MAX_TEXT, type Response } from '@bailiff/schemas';
import type { Session } from './session.ts';

/** What a person wrote. */
const FOREIGN = { reason: MAX_TEXT.Response.reason };

/** A person waits. */
const DEADLINE_MS = 10_000;

/** @returns its sequence, or null when there was one already. @throws BusError */
export async function publishResponse({ bus, io }: Session, response: Response): Promise<number | null> {
  const result = await publishOnce(bus, responseSubject(response), encodeResponse(cutTexts(response, FOREIGN)), {
    msgId: response.responseId,
    headers: cloudEventHeaders({
      id: response.responseId,
      type: 'dev.bailiff.response.v1',
      source: '/cli',
      timeMicros: response.recordedAt,
      ...(response.podName === '' ? {} : { subject: `${response.podNamespace}/${response.podName}` }),
    }),
    deadlineMs: DEADLINE_MS,
    stream: 'RESPONSES',
    isUnique: true,
    signal: io.signal,
  });
  return result.outcome === 'stored' ? result.sequence : null;
}
