/** Headers of an acknowledged publish, and the acknowledgement. */
import { type MsgHdrs, headers as makeHeaders } from '@nats-io/nats-core';
import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { streamOf } from '../connection/jetstream-health.ts';
import { apiRequest } from '../connection/request.ts';
import type { RequestOptions } from '../connection/request-mux.ts';

export interface PublishOptions {
  msgId: string;
  headers?: Readonly<Record<string, string>>;
}

/** JetStream's response to a publish. */
export interface PubAck {
  stream: string;
  seq: number;
  duplicate?: boolean;
  error?: { code: number; err_code: number; description: string };
}

/** Whether an ack can be that of a message on a subject: it names the stream that captures it. */
export function isAckOf(subject: string, { stream, seq }: PubAck): boolean {
  const expected = streamOf(subject);
  return Number.isSafeInteger(seq) && seq > 0 && (expected === undefined || stream === expected);
}

/** Publishes and waits for the ack. @throws BusError as apiRequest; BUS_TIMEOUT for an ack of another stream */
export async function publishAcked(
  bus: Bus,
  subject: string,
  payload: Uint8Array,
  options: RequestOptions,
): Promise<PubAck> {
  const ack = await apiRequest<PubAck>(bus, subject, payload, options);
  if (isAckOf(subject, ack)) return ack;
  throw new BusError('BUS_TIMEOUT', `${subject}: no ack of its stream, but one of ${ack.stream}/${ack.seq}`);
}

export function headersOf({ msgId, headers = {} }: Partial<PublishOptions>): MsgHdrs {
  const result = makeHeaders();
  // Each name occurs once, so `append` suffices. `set` would search for and remove earlier values.
  if (msgId !== undefined) result.append('Nats-Msg-Id', msgId);
  for (const [name, value] of Object.entries(headers)) result.append(name, value);
  return result;
}
