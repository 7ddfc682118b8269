/**
 * Whether the server stores what is published: JetStream is off there, or acknowledges no write, as greeting and answers show.
 *
 * nats-server switches JetStream off when the disk is full under it, tells no client, and switches it on again only when it starts. What it answered
 * before is then answered by nobody, and the server says so (503). Place in the path: request.ts tells of each question; readiness and errors ask.
 * Invariants: a stream that is not there is no sign, because JetStream itself says that; of direct gets and buckets, which a stream
 * answers, only one that answered before is a sign. It is forgotten with any answer and with a new connection. Bounds: one name a stream.
 *
 * Since 2.14 nats-server closes a single stream that it could not write, mostly because the disk is full: it answers what is read, leaves every
 * publish unanswered, and writes again only when it is restarted. Publishes in a row that time out on a connection that holds are the sign of it.
 */
import type { Bus } from './connect.ts';
import { IMPORTED_API } from './permissions.ts';
import { streamConfigs } from './topology.ts';

export const JETSTREAM_OFF = 'JetStream is off at the server';
export const JETSTREAM_OFF_REMEDY =
  'its log says why, mostly "JetStream out of space": make room on its disk, then restart nats-server';

export const NOT_WRITING = 'the server acknowledges no write';
export const NOT_WRITING_REMEDY =
  'if its log says "critical write error", its disk was full: make room there, then restart nats-server; else it is overloaded or without a leader';

const API = '$JS.API';
/** Between two publishes to one stream that time out with none acknowledged between them. One alone may have met a slow moment. */
const SILENCE_MS = 3_000;

/** Who answers a question: JetStream itself, or one stream; null: somebody else. Pure. */
export function answererOf(subject: string): string | null {
  if (subject.startsWith(`${API}.DIRECT.GET.`)) return subject.split('.', 5).join('.');
  if (subject.startsWith(`${API}.`)) return API;
  // In another account a request without an answer may also be one that it does not import.
  if (subject.startsWith(`${IMPORTED_API}.`)) return IMPORTED_API;
  return subject.startsWith('$KV.') ? subject.split('.', 2).join('.') : null;
}

/** `bailiff.v1.verdicts`, `$KV.bailiff_nodes`: what streams take, without the last token `>`. */
const WRITTEN = new Set(
  streamConfigs().flatMap(({ subjects = [] }) => subjects.map((subject) => subject.slice(0, -2))),
);

/** Where a publish is stored, by its subject; null: nowhere. Pure. */
export function writtenOf(subject: string): string | null {
  const prefix = subject.split('.', subject.startsWith('$KV.') ? 2 : 3).join('.');
  return WRITTEN.has(prefix) ? prefix : null;
}

export class JetStreamSign {
  readonly #answered = new Set<string>([API]);
  /** By stream: when a publish first timed out, and whether another one did since. */
  readonly #unacknowledged = new Map<string, { firstMs: number; again: boolean }>();
  #off = false;

  get off(): boolean {
    return this.#off;
  }

  /** Streams whose publishes are not acknowledged. */
  get notWriting(): string[] {
    return [...this.#unacknowledged].filter(([, { again }]) => again).map(([stream]) => stream);
  }

  /** Whether the stream of this subject is one of them. */
  isNotWriting(subject: string): boolean {
    return this.#unacknowledged.get(writtenOf(subject) ?? '')?.again ?? false;
  }

  /** A publish was acknowledged, or refused: its stream answers. */
  acknowledged(subject: string): void {
    if (this.#unacknowledged.size > 0) this.#unacknowledged.delete(writtenOf(subject) ?? '');
  }

  /** A publish had no answer in time, on a connection that holds. @param nowMs of a monotonic clock */
  unacknowledged(subject: string, nowMs = performance.now()): void {
    const stream = writtenOf(subject);
    if (stream === null) return;
    const known = this.#unacknowledged.get(stream);
    if (!known) this.#unacknowledged.set(stream, { firstMs: nowMs, again: false });
    else if (nowMs - known.firstMs >= SILENCE_MS) known.again = true;
  }

  answered(subject: string): void {
    this.acknowledged(subject);
    const answerer = answererOf(subject);
    if (answerer === null) return;
    this.#answered.add(answerer);
    this.#off = false;
  }

  /** The server has nobody to ask. */
  unanswered(subject: string): void {
    const answerer = answererOf(subject);
    if (answerer !== null && this.#answered.has(answerer)) this.#off = true;
  }

  /** Another connection, perhaps to another server. */
  forget(): void {
    this.#off = false;
    this.#unacknowledged.clear();
  }
}

/** Whether the server said so when this connection was made, or its answers show it since. */
export const isJetStreamOff = ({ nc, jetStream }: Pick<Bus, 'nc' | 'jetStream'>): boolean =>
  jetStream?.off === true || (nc.info !== undefined && nc.info.jetstream !== true);

/** Readiness: true, or that nothing can be stored, where, and what mends it. */
export function isStoring(bus: Pick<Bus, 'nc' | 'jetStream'>): true | string {
  if (isJetStreamOff(bus)) return `${JETSTREAM_OFF}: ${JETSTREAM_OFF_REMEDY}`;
  const streams = bus.jetStream?.notWriting ?? [];
  return streams.length === 0 || `${NOT_WRITING} to ${streams.join(', ')}: ${NOT_WRITING_REMEDY}`;
}
