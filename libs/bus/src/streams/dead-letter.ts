/**
 * Stores messages that cannot be processed (unreadable, refused, given up) with their reason.
 *
 * Correlator and responder write; the CLI reads. A message has one dead letter per reason, however
 * many replicas read it: the subject holds stream, reason and sequence, and is stored once. A
 * message above MAX_LETTER_BYTES is truncated and `Bailiff-Size` has its size, so that one node's
 * large messages cannot push out the letters of others. The original stays in its stream. A letter is
 * never empty: readers take an empty message for one that no client stored (injected-reply.ts).
 */

import type { Bus } from '../connection/connect.ts';
import type { HeaderBlock } from '../connection/incoming.ts';
import { MAX_PAYLOAD_BYTES } from '../topology/server-limits.ts';
import { deadLetterSubject, parseSubject, violationNode } from '../topology/subjects.ts';
import type { StreamMessage } from './direct.ts';
import { type PublishOnceResult, publishOnce } from './publish-once.ts';

export interface DeadLetter {
  stream: string;
  sequence: number;
  /** Subject of the message. */
  subject: string;
  /** Stable, kebab-case: `foreign-pod`, `unknown-fingerprint`, `max-deliveries`. */
  reason: string;
  /** One sentence for operators. */
  detail: string;
  data: Uint8Array;
  /** Kept of `data`. Default MAX_LETTER_BYTES. */
  maxBytes?: number;
  signal?: AbortSignal;
}

/**
 * Reason from the code of a typed error: `UNKNOWN_FINGERPRINT` → `unknown-fingerprint`. `otherwise`
 * is used without a code. Pure.
 */
export function reasonOf(error: unknown, otherwise: string): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code.toLowerCase().replaceAll('_', '-') : otherwise;
}

/** The node of a dead letter of VIOLATIONS; empty if its subject names none. Pure. */
export function nodeOfLetter(headers: Pick<HeaderBlock, 'get'> | undefined): string {
  return violationNode(headers?.get(SUBJECT) ?? '') ?? '';
}

/** What a dead letter of VIOLATIONS refuses; null if no Bailiff client stored it. Pure. */
export function refusalOf({ subject, headers, injected, timestampMicros: writtenMicros }: StreamMessage) {
  const parsed = parseSubject(subject);
  if (parsed?.what !== 'deadletters' || injected) return null;
  const { sequence, reason } = parsed;
  return { node: nodeOfLetter(headers), sequence, reason, detail: headers?.get(DETAIL) ?? '', writtenMicros };
}

const SUBJECT = 'Bailiff-Subject';
const DETAIL = 'Bailiff-Detail';
/** Headers are single, short lines. */
const MAX_DETAIL = 512;
/**
 * A frame of 64 violations takes about 25 kB. The stream holds 50,000 letters of 1 kB and 2,000 of
 * this size.
 */
export const MAX_LETTER_BYTES = 64 * 1024;
/**
 * Reserved for headers on a server with a lower limit. The longest header is a subject, below 4
 * KiB.
 */
const HEADERS_BYTES = 8 * 1024;

/** Content of a letter whose message is empty or gone. */
const NOTHING = new Uint8Array(1);

/** @throws BusError as publishOnce */
export function deadLetter(bus: Bus, letter: DeadLetter): Promise<PublishOnceResult> {
  const subject = deadLetterSubject(letter.stream, letter.reason, letter.sequence);
  const { length } = letter.data;
  const most = Math.min(
    letter.maxBytes ?? MAX_LETTER_BYTES,
    (bus.nc.info?.max_payload ?? MAX_PAYLOAD_BYTES) - HEADERS_BYTES,
  );
  const kept = length === 0 ? NOTHING : letter.data.subarray(0, most);
  return publishOnce(bus, subject, kept, {
    headers: {
      'Bailiff-Reason': letter.reason,
      [DETAIL]: letter.detail.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_DETAIL),
      'Bailiff-Stream': letter.stream,
      'Bailiff-Sequence': String(letter.sequence),
      [SUBJECT]: letter.subject,
      ...(length !== kept.length ? { 'Bailiff-Size': String(length) } : {}),
    },
    ...(letter.signal ? { signal: letter.signal } : {}),
  });
}
