/**
 * Whether JetStream is off at the server, as the connection's greeting or the answers since then show.
 *
 * nats-server switches JetStream off when the disk is full under it, tells no client, and switches it on again only when it starts. What it answered
 * before is then answered by nobody, and the server says so (503). Place in the path: request.ts tells of each question; readiness and errors ask.
 * Invariants: a stream that is not there is no sign, because JetStream itself says that; of direct gets and buckets, which a stream
 * answers, only one that answered before is a sign. It is forgotten with any answer and with a new connection. Bounds: one name a stream.
 */
import type { Bus } from './connect.ts';
import { IMPORTED_API } from './permissions.ts';

export const JETSTREAM_OFF = 'JetStream is off at the server';
export const JETSTREAM_OFF_REMEDY =
  'its log says why, mostly "JetStream out of space": make room on its disk, then restart nats-server';

const API = '$JS.API';

/** Who answers a question: JetStream itself, or one stream; null: somebody else. Pure. */
export function answererOf(subject: string): string | null {
  if (subject.startsWith(`${API}.DIRECT.GET.`)) return subject.split('.', 5).join('.');
  if (subject.startsWith(`${API}.`)) return API;
  // In another account a request that nobody answers may also be one that it does not import.
  if (subject.startsWith(`${IMPORTED_API}.`)) return IMPORTED_API;
  return subject.startsWith('$KV.') ? subject.split('.', 2).join('.') : null;
}

export class JetStreamSign {
  readonly #answered = new Set<string>([API]);
  #off = false;

  get off(): boolean {
    return this.#off;
  }

  answered(subject: string): void {
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
  }
}

/** Whether the server said so when this connection was made, or its answers show it since. */
export const isJetStreamOff = ({ nc, jetStream }: Pick<Bus, 'nc' | 'jetStream'>): boolean =>
  jetStream?.off === true || (nc.info !== undefined && nc.info.jetstream !== true);

/** Readiness: true, or that nothing can be stored and what mends it. */
export const isStoring = (bus: Pick<Bus, 'nc' | 'jetStream'>): true | string =>
  isJetStreamOff(bus) ? `${JETSTREAM_OFF}: ${JETSTREAM_OFF_REMEDY}` : true;
