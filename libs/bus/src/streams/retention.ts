/**
 * Since when a stream holds every message that it ever stored.
 *
 * VERDICTS and RESPONSES delete their oldest messages at their age limit, and earlier when they are
 * full: one tenant may fill them, and must not stop the verdicts and responses of others. A message
 * that is absent from a stream was therefore never stored only if it would be newer than this time.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { headers as makeHeaders } from '@nats-io/nats-core';
import type { Bus } from '../connection/connect.ts';
import { microsOf } from '../connection/server-clock.ts';
import { streamConfigs } from '../topology/topology.ts';
import { publishAcked } from './ack.ts';
import { type StreamMessage, streamInfo } from './direct.ts';

/**
 * A stream that is filled to less has deleted nothing for want of room within its age limit:
 * otherwise it would still be full, because only age empties it.
 */
const FULL_SHARE = 0.9;

const DEFAULTS = new Map(streamConfigs().map((config) => [config.name, config]));

type Contents = Pick<StreamInfo, 'config' | 'state'> & { ts?: string };

/**
 * Whether a stream is filled up to FULL_SHARE of a limit. A limit that an operator has raised brings
 * back no message, so the default counts if it is lower.
 */
export function isFull({ config, state }: Contents): boolean {
  const reaches = (used: number, limit: number, standard = -1) => {
    const limits = [limit, standard].filter((one) => one > 0);
    return limits.length > 0 && used >= FULL_SHARE * Math.min(...limits);
  };
  const standard = DEFAULTS.get(config.name);
  return (
    reaches(state.bytes, config.max_bytes, standard?.max_bytes) ||
    reaches(state.messages, config.max_msgs, standard?.max_msgs)
  );
}

/** Whether the stream is full and has deleted messages. */
export const isTrimmed = (info: Contents): boolean => info.state.first_seq > 1 && isFull(info);

/** Bus time since which the stream holds every message; 0: it holds all that it ever stored. */
export function completeSinceMicros(info: Contents): number {
  const { config, state, ts } = info;
  if (isTrimmed(info)) return microsOf(state.first_ts);
  return ts && config.max_age > 0 && state.first_seq > 1 ? microsOf(ts) - config.max_age / 1000 : 0;
}

/** @throws BusError */
export async function readCompleteSince(bus: Bus, stream: string): Promise<number> {
  return completeSinceMicros(await streamInfo(bus, stream));
}

/** Header of a copy: when the bus stored the original, in microseconds. */
export const FIRST_STORED = 'Bailiff-First-Stored';

/** When the bus stored a message first. A copy may not claim to be younger than it is. */
export function firstStoredMicros({ headers, timestampMicros }: StreamMessage): number {
  const stated = Number(headers?.get(FIRST_STORED) || Number.NaN);
  return stated > 0 && stated < timestampMicros ? stated : timestampMicros;
}

/** Whether a message is a copy that keeps an older record in its stream. */
export const isCopy = ({ headers }: Pick<StreamMessage, 'headers'>): boolean => headers?.has(FIRST_STORED) ?? false;

const EXPECTED = 'Nats-Expected-Last-Sequence';

/** A raw client of an operator's user can store headers on which the NATS client throws. Readers look at none of them. */
const isSendable = (name: string, value: string) => /^[!-9;-~]+$/.test(name) && !/[\r\n]/.test(value);

/**
 * Stores a copy of a message at the end of its stream, if the stream ends at a sequence. Readers
 * take the time of the original. @throws BusError BUS_CONFLICT if the stream has grown
 */
export async function storeCopy(bus: Bus, message: StreamMessage, lastSequence: number): Promise<void> {
  const headers = makeHeaders();
  for (const [name, value] of message.headers?.entries() ?? []) {
    if (!name.startsWith('Nats-') && name !== FIRST_STORED && isSendable(name, value)) headers.append(name, value);
  }
  headers.set(FIRST_STORED, String(firstStoredMicros(message)));
  headers.set(EXPECTED, String(lastSequence));
  await publishAcked(bus, message.subject, message.data, { headers });
}
