/**
 * Single answers about a stream, without a consumer on the server: a message by sequence, the newest of a subject, the state.
 *
 * Place in the path: kv.ts, snapshot.ts and config-log.ts are built on it. In a cluster a direct get may be answered by a replica
 * that is a moment behind; whoever writes on its ground does so by compare and set.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Bus } from './connect.ts';
import { BusError } from './errors.ts';
import type { StreamMessage } from './ordered.ts';
import { contentOf, isPlantedWithin } from './planted.ts';
import { apiRequest, request } from './request.ts';

/** State and configuration of a stream; `ts` is the server's time. @throws BusError BUS_NO_STREAM and what request throws */
export function streamInfo(bus: Bus, stream: string, body?: unknown): Promise<StreamInfo & { ts?: string }> {
  return apiRequest(bus, `$JS.API.STREAM.INFO.${stream}`, body);
}

/** Newest sequence of a stream; 0 when it never held anything. @throws BusError */
export async function lastSequence(bus: Bus, stream: string): Promise<number> {
  return (await streamInfo(bus, stream)).state.last_seq;
}

/** Reads one message through direct get: no consumer on the server. */
export async function directGet(bus: Bus, subject: string, query?: unknown): Promise<StreamMessage | null> {
  const message = await request(bus, subject, query === undefined ? undefined : JSON.stringify(query));
  const { headers } = message;
  if (headers && headers.code !== 0) {
    if (headers.code === 404) return null;
    throw new BusError('BUS_REFUSED', `${subject}: ${headers.code} ${headers.description}`);
  }
  // The server's own stand behind those that the message was stored with.
  const sequence = Number(headers?.last('Nats-Sequence'));
  const timestampMicros = microsOf(headers?.last('Nats-Time-Stamp') ?? '');
  if (!Number.isSafeInteger(sequence) || sequence <= 0 || Number.isNaN(timestampMicros)) {
    throw new BusError('BUS_MESSAGE', `${subject}: an answer without its sequence or time`);
  }
  const stored = headers?.last('Nats-Subject') ?? '';
  const content = contentOf(message, isPlantedWithin(headers));
  return { sequence, timestampMicros, subject: stored, ...content, pending: 0 };
}

/** Microseconds of an RFC 3339 time with up to nine decimals; NaN when it is none. */
export function microsOf(time: string): number {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  if (!match) return Number.NaN;
  const seconds = Date.parse(`${match[1]}${match[3]}`) / 1000;
  return seconds * 1_000_000 + Number((match[2] ?? '').padEnd(6, '0').slice(0, 6));
}

/** One message by its sequence; null when the stream does not hold it. @throws BusError */
export function getMessage(bus: Bus, stream: string, sequence: number): Promise<StreamMessage | null> {
  return directGet(bus, `$JS.API.DIRECT.GET.${stream}`, { seq: sequence });
}

/** Newest message on a subject; null when there is none. @throws BusError */
export function getLastMessage(bus: Bus, stream: string, subject: string): Promise<StreamMessage | null> {
  return directGet(bus, `$JS.API.DIRECT.GET.${stream}.${subject}`);
}
