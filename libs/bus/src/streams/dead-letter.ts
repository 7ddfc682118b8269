/**
 * Where messages go that cannot be taken: unreadable, foreign, or given up, each with its reason and its bytes.
 *
 * Place in the path: correlator and responder write; the CLI reads. Invariant: a message has one dead letter a reason, however
 * often and by however many replicas it is read: its subject holds stream, reason and sequence, and is stored once. Of a message above
 * MAX_LETTER_BYTES the beginning is kept, and `Bailiff-Size` says how much it was: letters of one node's rubbish must not push those of others out of the
 * stream, and the whole message is in its own stream.
 */

import type { Bus } from '../connection/connect.ts';
import { MAX_PAYLOAD_BYTES } from '../topology/server-limits.ts';
import { deadLetterSubject } from '../topology/subjects.ts';
import { type PublishOnceResult, publishOnce } from './publish-once.ts';

export interface DeadLetter {
  stream: string;
  sequence: number;
  /** Subject of the message. */
  subject: string;
  /** Stable, kebab-case: `foreign-pod`, `unknown-fingerprint`, `max-deliveries`. */
  reason: string;
  /** One sentence for a person. */
  detail: string;
  data: Uint8Array;
  signal?: AbortSignal;
}

/** The reason that a typed error's code is: `UNKNOWN_FINGERPRINT` → `unknown-fingerprint`; `otherwise` of an error without one. Pure. */
export function reasonOf(error: unknown, otherwise: string): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code.toLowerCase().replaceAll('_', '-') : otherwise;
}

/** Headers are one line each and short. */
const MAX_DETAIL = 512;
/** Of the message. A frame of 64 violations takes about 25 kB; 50,000 letters of 1 kB and 2,000 of this fit into the stream. */
export const MAX_LETTER_BYTES = 64 * 1024;
/** Kept free for headers where a server takes less; the longest is a subject, which is below 4 KiB. */
const HEADERS_BYTES = 8 * 1024;

/** Stores it. @throws BusError as publishOnce */
export function deadLetter(bus: Bus, letter: DeadLetter): Promise<PublishOnceResult> {
  const subject = deadLetterSubject(letter.stream, letter.reason, letter.sequence);
  const { length } = letter.data;
  const most = Math.min(MAX_LETTER_BYTES, (bus.nc.info?.max_payload ?? MAX_PAYLOAD_BYTES) - HEADERS_BYTES);
  return publishOnce(bus, subject, letter.data.subarray(0, most), {
    msgId: subject,
    headers: {
      'Bailiff-Reason': letter.reason,
      'Bailiff-Detail': letter.detail.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_DETAIL),
      'Bailiff-Stream': letter.stream,
      'Bailiff-Sequence': String(letter.sequence),
      'Bailiff-Subject': letter.subject,
      ...(length > most ? { 'Bailiff-Size': String(length) } : {}),
    },
    ...(letter.signal ? { signal: letter.signal } : {}),
  });
}
