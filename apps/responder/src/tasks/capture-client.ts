/**
 * Requests a capture from a node's collector: one request and one reply over the bus, in no stream.
 */
import { type Bus, captureSubject, request } from '@bailiff/bus';
import { parseCaptureAnswer } from '@bailiff/schemas';
import type { ActionContext } from '../actions/action.ts';

/** Above the collector's own time limit, below the wait of the deletion (CAPTURE_WAIT_MS). */
const CAPTURE_REQUEST_TIMEOUT_MS = 1_500;

export function captureClient(bus: Bus): ActionContext['requestCapture'] {
  return async (node, body) => {
    const timeoutMs = CAPTURE_REQUEST_TIMEOUT_MS;
    const reply = await request(bus, captureSubject(node), JSON.stringify(body), { timeoutMs });
    return parseCaptureAnswer(reply.data);
  };
}
