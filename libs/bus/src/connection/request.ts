/**
 * Requests to JetStream and to other responders, with typed errors.
 *
 * A request is sent only while the bus is connected and fails at once when the connection breaks.
 * The client alone would wait for its whole timeout if a broken connection swallowed the request.
 */

import { onAbort } from '@bailiff/service/retry';
import { errors, type Payload } from '@nats-io/nats-core';
import { IMPORTED_API } from '../topology/identities.ts';
import type { Bus, BusStatus } from './connect.ts';
import { BusError, codeOfRefusal, toBusError } from './errors.ts';
import { type Incoming, subscribe } from './incoming.ts';
import { NOT_WRITING, NOT_WRITING_REMEDY } from './jetstream-health.ts';
import { ReplyInbox, randomToken } from './reply-inbox.ts';
import { type RequestOptions, repeatedly } from './request-mux.ts';

interface ApiError {
  code: number;
  err_code: number;
  description: string;
}

/** Error for a refused request, with the remedy if the rights of the user are not the cause. */
function forbidden(bus: Bus, subject: string, cause: unknown): BusError {
  const isOwnRight = subject.startsWith(`${IMPORTED_API}.`);
  const hint = isOwnRight
    ? `the configuration of the servers is older than this program: "bailiff credentials show" shows whether users have accounts (docs/bus-credentials.md, "From one account to several"); otherwise render it again and reload the servers`
    : 'docs/reference/subjects.md lists the rights of each user';
  return new BusError('BUS_PERMISSION', `the server refuses ${subject} to ${bus.user}: ${hint}`, { cause });
}

/**
 * @throws BusError BUS_UNREACHABLE | BUS_TIMEOUT | BUS_PERMISSION | BUS_NO_STREAM | BUS_TOO_LARGE |
 * BUS_CLOSED
 */
export async function request(
  bus: Bus,
  subject: string,
  payload?: Payload,
  options: RequestOptions = {},
): Promise<Incoming> {
  if (!bus.connected) throw new BusError('BUS_UNREACHABLE', `${subject}: the bus is not connected`);
  try {
    const message = await bus.requests.send(subject, payload, options);
    bus.jetStream?.responded(subject);
    return message;
  } catch (cause) {
    const error = toBusError(cause, subject);
    if (error.code === 'BUS_NO_STREAM') bus.jetStream?.noResponder(subject);
    if (error.code === 'BUS_PERMISSION') throw forbidden(bus, subject, error.cause);
    if (error.code === 'BUS_TIMEOUT') throw unacknowledged(bus, subject, error);
    throw error;
  }
}

/**
 * One request that changes nothing, with many responses; BusOptions.repeatsReads applies. Resolves when
 * `take` returns true or the signal aborts.
 * @throws what `take` throws; BusError BUS_TIMEOUT after `timeoutMs` without a response,
 * BUS_UNREACHABLE, BUS_PERMISSION
 */
export function requestMany(
  bus: Bus,
  subject: string,
  body: object,
  signal: AbortSignal,
  take: (response: Incoming) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const inbox = new ReplyInbox(bus.inboxPrefix);
    const replies = new Set<string>();
    let chosen = '';
    let stopAsking: () => void = () => undefined;
    const ask = () => {
      const reply = inbox.subject(randomToken());
      replies.add(reply);
      bus.nc.publish(subject, JSON.stringify(body), { reply });
    };
    const end = (error?: unknown) => {
      stopAsking();
      clearTimeout(silence);
      bus.statusListeners.delete(onStatus);
      forget();
      if (!bus.nc.isClosed()) subscription.unsubscribe();
      if (error === undefined) resolve();
      else reject(error);
    };
    const onStatus = (status: BusStatus) => {
      if (status.type === 'disconnected' || status.type === 'closed') {
        end(new BusError('BUS_UNREACHABLE', `${subject}: the connection broke before the last response`));
      } else if (status.type === 'error') {
        const { cause } = status.error;
        if (cause instanceof errors.PermissionViolationError && cause.subject === subject) end(status.error);
      }
    };
    const late = () => end(new BusError('BUS_TIMEOUT', `${subject}: no response within ${bus.timeoutMs} ms`));
    const silence = setTimeout(late, bus.timeoutMs);
    const forget = onAbort(signal, () => end());
    const subscription = subscribe(bus, inbox.filter, (error, response) => {
      if (error) return end(toBusError(error, inbox.filter));
      if (chosen === '' && replies.has(response.subject)) chosen = response.subject;
      if (response.subject !== chosen) return;
      stopAsking();
      silence.refresh();
      try {
        if (take(response)) end();
      } catch (cause) {
        end(cause);
      }
    });
    bus.statusListeners.add(onStatus);
    const { nc, repeatsReads: repeats = false, timeoutMs } = bus;
    stopAsking = repeatedly(ask, { nc, repeats, timeoutMs });
  });
}

/**
 * Records a publish without an ack. Returns an error with the remedy if the stream acknowledges no
 * publishes at all.
 */
export function unacknowledged(bus: Bus, subject: string, error: BusError): BusError {
  bus.jetStream?.unacknowledged(subject);
  if (!bus.jetStream?.isNotWriting(subject)) return error;
  return new BusError(error.code, `${subject}: ${NOT_WRITING}: ${NOT_WRITING_REMEDY}`, { cause: error });
}

/**
 * A request with a JSON response. @throws BusError as `request`, and for every `error` in the
 * response
 */
export async function apiRequest<T>(
  bus: Bus,
  subject: string,
  body?: unknown,
  options: RequestOptions = {},
): Promise<T> {
  const payload = body === undefined ? undefined : body instanceof Uint8Array ? body : JSON.stringify(body);
  return parseResponse<T>(await request(bus, subject, payload, options), subject);
}

/** Parses a JSON response. @throws BusError for a refusal, BUS_MESSAGE when it is not JSON */
export function parseResponse<T>(message: Incoming, subject: string): T {
  let response: T & { error?: ApiError };
  try {
    response = message.json<T & { error?: ApiError }>();
  } catch (cause) {
    throw new BusError('BUS_MESSAGE', `${subject}: the response is not JSON`, { cause });
  }
  if (response.error) throw refusal(subject, response.error);
  return response;
}

export function refusal(subject: string, error: ApiError): BusError {
  const code = codeOfRefusal(error.err_code, error.description);
  return new BusError(code, `${subject}: ${error.description}`, { apiCode: error.err_code });
}
