/**
 * Publishes the record of an operator's decision to RESPONSES, once, under its response's subject.
 */
import { cloudEventHeaders, publishOnce, readCluster, responseSubject } from '@bailiff/bus';
import { cutTexts, encodeResponse, MAX_TEXT, type Response } from '@bailiff/schemas';
import type { Session } from './session.ts';

/** Fields that an operator writes. */
const FOREIGN = { reason: MAX_TEXT.Response.reason };

/** A user waits for the command. */
const DEADLINE_MS = 10_000;

/** @returns the sequence, or null if the record already exists. @throws BusError */
export async function publishResponse({ bus, io }: Session, response: Response): Promise<number | null> {
  // A decision is stored without the cluster rather than not at all.
  const cluster = await readCluster(bus).catch(() => undefined);
  const result = await publishOnce(bus, responseSubject(response), encodeResponse(cutTexts(response, FOREIGN)), {
    headers: cloudEventHeaders({
      id: response.responseId,
      type: 'dev.bailiff.response.v1',
      source: '/cli',
      timeMicros: response.recordedAt,
      cluster,
      ...(response.podName === '' ? {} : { subject: `${response.podNamespace}/${response.podName}` }),
    }),
    deadlineMs: DEADLINE_MS,
    stream: 'RESPONSES',
    isUnique: true,
    signal: io.signal,
  });
  return result.outcome === 'stored' ? result.sequence : null;
}
