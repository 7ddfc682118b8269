/**
 * Whether the server stores published messages, derived from its greeting and its responses.
 *
 * When its disk is full, nats-server disables JetStream until it restarts, without notifying
 * clients. It then responds 503 to requests that JetStream served before. Since 2.14 it closes only
 * the stream that it could not write: reads work, publishes get no ack. A missing stream is no
 * indication, because JetStream reports it. Any response and any new connection reset the state.
 * Limit: one entry a stream.
 */

import type { NatsConnection } from '@nats-io/nats-core';
import { IMPORTED_API } from '../topology/identities.ts';
import { streamConfigs } from '../topology/topology.ts';

export const JETSTREAM_OFF = 'JetStream is off at the server';
export const JETSTREAM_OFF_REMEDY =
  'its log says why, mostly "JetStream out of space": make room on its disk, then restart nats-server';

export const NOT_WRITING = 'the server acknowledges no write';
export const NOT_WRITING_REMEDY =
  'if its log says "critical write error", its disk was full: make room there, then restart nats-server. With "last msgid mismatch" there: docs/operations.md, "Stopped stream". Else it is overloaded or without a leader';

const API = '$JS.API';
/**
 * Minimum time between two timed-out publishes without an ack in between. A single timeout may be a
 * moment of high load.
 */
const SILENCE_MS = 3_000;

/** Who serves a request: JetStream itself, one stream, or null for any other responder. Pure. */
export function responderOf(subject: string): string | null {
  if (subject.startsWith(`${API}.DIRECT.GET.`)) return subject.split('.', 5).join('.');
  if (subject.startsWith(`${API}.`)) return API;
  // Outside the core account, 503 can also mean that the account does not import the subject.
  if (subject.startsWith(`${IMPORTED_API}.`)) return IMPORTED_API;
  return subject.startsWith('$KV.') ? subject.split('.', 2).join('.') : null;
}

/** The first tokens of subjects that a stream captures: `bailiff.v1.verdicts`, `$KV.bailiff_nodes`. */
const prefixOf = (subject: string) => subject.split('.', subject.startsWith('$KV.') ? 2 : 3).join('.');

const STREAM_OF_PREFIX = new Map(
  streamConfigs().flatMap(({ name, subjects = [] }) => subjects.map((subject) => [prefixOf(subject), name])),
);

/** Prefix of the stream or bucket that stores this subject; null if none does. Pure. */
export function storedPrefixOf(subject: string): string | null {
  const prefix = prefixOf(subject);
  return STREAM_OF_PREFIX.has(prefix) ? prefix : null;
}

/** The stream that stores this subject; undefined if none of ours does. Pure. */
export const streamOf = (subject: string): string | undefined => STREAM_OF_PREFIX.get(prefixOf(subject));

export class JetStreamHealth {
  readonly #responders = new Set<string>([API]);
  /** By stream: time of the first timed-out publish, and whether another one followed. */
  readonly #unacknowledged = new Map<string, { firstMs: number; again: boolean }>();
  #off = false;

  get off(): boolean {
    return this.#off;
  }

  /** Streams that acknowledge no publishes. */
  get notWriting(): string[] {
    return [...this.#unacknowledged].filter(([, { again }]) => again).map(([stream]) => stream);
  }

  /** Whether the stream of this subject is one of `notWriting`. */
  isNotWriting(subject: string): boolean {
    return this.#unacknowledged.get(storedPrefixOf(subject) ?? '')?.again ?? false;
  }

  /** A publish was acknowledged or refused, so its stream responds. */
  acknowledged(subject: string): void {
    if (this.#unacknowledged.size > 0) this.#unacknowledged.delete(storedPrefixOf(subject) ?? '');
  }

  /** A publish timed out on a working connection. @param nowMs of a monotonic clock */
  unacknowledged(subject: string, nowMs = performance.now()): void {
    const stream = storedPrefixOf(subject);
    if (stream === null) return;
    const known = this.#unacknowledged.get(stream);
    if (!known) this.#unacknowledged.set(stream, { firstMs: nowMs, again: false });
    else if (nowMs - known.firstMs >= SILENCE_MS) known.again = true;
  }

  responded(subject: string): void {
    this.acknowledged(subject);
    const answerer = responderOf(subject);
    if (answerer === null) return;
    this.#responders.add(answerer);
    this.#off = false;
  }

  /** The server responded 503: no responders. */
  noResponder(subject: string): void {
    const answerer = responderOf(subject);
    if (answerer !== null && this.#responders.has(answerer)) this.#off = true;
  }

  /** Called after a reconnect, possibly to another server. */
  reset(): void {
    this.#off = false;
    this.#unacknowledged.clear();
  }
}

/** The fields of a Bus that its JetStream health is read from. */
export interface HealthSource {
  nc: Pick<NatsConnection, 'info'>;
  readonly jetStream?: JetStreamHealth;
}

/** Whether JetStream is off according to the server's greeting or to its responses since. */
export const isJetStreamOff = ({ nc, jetStream }: HealthSource): boolean =>
  jetStream?.off === true || (nc.info !== undefined && nc.info.jetstream !== true);

/** Readiness check: true, or what cannot be stored and the remedy. */
export function isStoring(bus: HealthSource): true | string {
  if (isJetStreamOff(bus)) return `${JETSTREAM_OFF}: ${JETSTREAM_OFF_REMEDY}`;
  const streams = bus.jetStream?.notWriting ?? [];
  return streams.length === 0 || `${NOT_WRITING} to ${streams.join(', ')}: ${NOT_WRITING_REMEDY}`;
}
