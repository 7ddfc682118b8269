/**
 * Responds to the direct gets of READERS, which cannot reach the server. siem-relay runs it.
 *
 * nats-server from 2.11 on serves a direct get while the stream can store nothing. One with
 * `multi_last` compares each of its filters with each subject of the stream, and one with `batch` and
 * `max_bytes` reads as much of the stream into memory. So a reader gets one message a request, by its
 * sequence, the next one under a filter, or the newest of a subject. Limits: MAX_READS_PER_WINDOW
 * requests of a stream in a second, and those of respondToRequests.
 */
import type { Bus } from '../connection/connect.ts';
import { toBusError } from '../connection/errors.ts';
import type { Incoming } from '../connection/incoming.ts';
import { request } from '../connection/request.ts';
import { type Response, respondToRequests } from '../connection/request-responder.ts';
import { MAX_PAYLOAD_BYTES } from '../topology/server-limits.ts';
import { READ_STREAMS, readSubject, STATE_QUEUE } from '../topology/subjects.ts';

/** Of all readers together. At the end of a stream a reader asks a few times a second. */
export const MAX_READS_PER_WINDOW = 256;
const MAX_WAIT_MS = 2_000;
/** The longest subject that a server stores. */
const MAX_FILTER_LENGTH = 4_096;

/**
 * The fields of a direct get that cost the server one search of the stream at most. Under a filter that matches none,
 * that took 30 to 150 ms in VERDICTS with 200,000 verdicts on two busy cores.
 */
interface Read {
  seq?: number;
  start_time?: string;
  next_by_subj?: string;
  last_by_subj?: string;
}

const isText = (value: unknown) =>
  value === undefined || (typeof value === 'string' && value !== '' && value.length <= MAX_FILTER_LENGTH);

/** The query of a request; null if it has other fields, or values that are not cheap. */
export function cheapRead(data: Uint8Array): Read | null {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(data).toString('utf8'));
  } catch {
    return null;
  }
  if (typeof body !== 'object' || body === null) return null;
  const { seq, start_time, next_by_subj, last_by_subj, ...others } = body as Read;
  if (Object.keys(others).length > 0 || ![start_time, next_by_subj, last_by_subj].every(isText)) return null;
  if (seq !== undefined && !(Number.isSafeInteger(seq) && seq > 0)) return null;
  // The newest message of a subject, or of the stream.
  return last_by_subj !== undefined && last_by_subj !== '>' && /[*>]/.test(last_by_subj) ? null : (body as Read);
}

const NOTHING = new Uint8Array();
const status = (text: string): Response => ({ headerBlock: Buffer.from(`NATS/1.0 ${text}\r\n\r\n`), data: NOTHING });

/**
 * A found message. With the lines that the server appends, the largest ones of a node are larger than a client may
 * send: of these only the place, as of a message that no Bailiff client stored. No collector writes any.
 */
function responseOf({ headers, headerBlock = NOTHING, data }: Incoming, most: number): Response {
  if (headerBlock.length + data.length <= most) return { headerBlock, data };
  const lines = [...(headers?.source() ?? [])].map(([name, value]) => `${name}: ${value}`);
  return { headerBlock: Buffer.from(['NATS/1.0', ...lines, '', ''].join('\r\n'), 'latin1'), data: NOTHING };
}

/** @returns a function that ends it */
export function respondToReads(
  bus: Bus,
  monotonicMs: () => number,
  onError: (error: Error) => void,
  maxPerWindow = MAX_READS_PER_WINDOW,
): () => Promise<void> {
  const responders = READ_STREAMS.map((stream) => {
    const respond = async (data: Uint8Array): Promise<Response> => {
      const read = cheapRead(data);
      if (read === null) return status('408 Bad Request');
      try {
        const found = await request(bus, `$JS.API.DIRECT.GET.${stream}`, JSON.stringify(read));
        return responseOf(found, bus.nc.info?.max_payload ?? MAX_PAYLOAD_BYTES);
      } catch (cause) {
        return status(`503 ${toBusError(cause, stream).code}`);
      }
    };
    return respondToRequests(bus, {
      subject: readSubject(stream),
      queue: STATE_QUEUE,
      respond,
      busy: () => status('503 Busy'),
      maxWaitMs: MAX_WAIT_MS,
      maxPerWindow,
      monotonicMs,
      onError,
    });
  });
  return async () => {
    await Promise.all(responders.map((responder) => responder.close()));
  };
}
