/**
 * Responds to SIEM connectors that request the state of their consumer, which most client libraries
 * do before they read.
 *
 * The connectors may not send this request to the server (libs/bus/src/auth/accounts.ts). Limits
 * and their responses: those of respondToRequests, for each consumer.
 */
import {
  apiRequest,
  type Bus,
  consumerStateSubject,
  type RequestResponder,
  respondToRequests,
  SIEM_FORMATS,
  STATE_QUEUE,
  siemConsumer,
  toBusError,
} from '@bailiff/bus';

/** `err_code` of nats-server: JetStream system temporarily unavailable. */
const UNAVAILABLE = 10_008;
const MAX_WAIT_MS = 2_000;

const refusal = (description: string, code = UNAVAILABLE) =>
  JSON.stringify({
    type: 'io.nats.jetstream.api.v1.consumer_info_response',
    error: { code: 503, err_code: code, description },
  });

/** @returns a function that ends it */
export function respondWithConsumerState(
  bus: Bus,
  monotonicMs: () => number,
  onError: (error: Error) => void,
): () => Promise<void> {
  const responders = SIEM_FORMATS.map(siemConsumer).map((consumer): RequestResponder => {
    const state = async () => {
      try {
        return JSON.stringify(await apiRequest(bus, `$JS.API.CONSUMER.INFO.SIEM.${consumer}`));
      } catch (cause) {
        const error = toBusError(cause, consumer);
        return refusal(error.message, error.apiCode || UNAVAILABLE);
      }
    };
    return respondToRequests(bus, {
      subject: consumerStateSubject(consumer),
      queue: STATE_QUEUE,
      respond: state,
      busy: () => refusal('too many requests'),
      maxWaitMs: MAX_WAIT_MS,
      monotonicMs,
      onError,
    });
  });
  return async () => {
    await Promise.all(responders.map((responder) => responder.close()));
  };
}
