/** Asks a node's collector what runs in a pod: one question, one answer, in no stream. */
import { type Bus, captureSubject, request } from '@bailiff/bus';
import { parseCaptureAnswer } from '@bailiff/schemas';
import type { ActionContext } from '../actions/action.ts';

/** Above a collector's own budget for it, below the wait of the deletion behind it (CAPTURE_WAIT_MS). */
const CAPTURE_REQUEST_TIMEOUT_MS = 1_500;

export function captureClient(bus: Bus): ActionContext['requestCapture'] {
  return async (node, question) => {
    const answer = await request(bus, captureSubject(node), JSON.stringify(question), {
      timeoutMs: CAPTURE_REQUEST_TIMEOUT_MS,
    });
    return parseCaptureAnswer(answer.data);
  };
}
