/**
 * `bailiff evidence log`: hashes the messages of four streams into a log on disk, and signs its heads.
 *
 * Data path: CONFIG_LOG, VIOLATIONS, VERDICTS, RESPONSES → here → a directory → `evidence export --log`.
 * Invariants: each message is one leaf, in the order of its stream. A restart continues after the newest
 * head. At most HEAD_EVERY_MS after a message was read, a head covers it.
 */
import type { KeyObject } from 'node:crypto';
import { consumeOrdered, microsOf, type StreamMessage, streamInfo } from '@bailiff/bus';
import { LOGGED_STREAMS, leafOf, signHead } from '@bailiff/evidence';
import type { Session } from '../shared/session.ts';
import { type LogWriter, MAX_ADDED } from './log-files.ts';

export const HEAD_EVERY_MS = 1_000;

export interface LogOptions {
  origin: string;
  key: KeyObject;
}

/** Runs until the signal aborts, or reading or writing fails. @throws BusError; CliError; errors of the file system */
export async function keepLog(session: Session, log: LogWriter, { origin, key }: LogOptions): Promise<void> {
  const { bus, io, out } = session;
  const end = new AbortController();
  const signal = AbortSignal.any([io.signal, end.signal]);
  let failed: unknown = null;
  const flush = () => {
    if (log.open === 0 && log.note !== '') return;
    log.flush((size) => signHead({ origin, size }, log.at, key));
  };
  const guarded = (work: () => void) => {
    try {
      work();
    } catch (error) {
      failed ??= error;
      end.abort();
    }
  };
  const timer = setInterval(() => guarded(flush), HEAD_EVERY_MS);
  const follow = async (stream: string): Promise<void> => {
    let created = microsOf((await streamInfo(bus, stream)).created);
    const last = log.last(stream, created);
    const take = ({ sequence, timestampMicros: storedAt, subject, headers, data }: StreamMessage) => {
      // A recreated stream is read again from its beginning.
      if (sequence <= log.last(stream, created)) return;
      log.add(
        stream,
        created,
        sequence,
        leafOf({ stream, sequence, storedAt, subject }, headers?.stored, data, created),
      );
      if (log.open >= MAX_ADDED) flush();
    };
    await consumeOrdered(bus, stream, {
      start: last === 0 ? 'all' : { sequence: last + 1 },
      onMessage: (message) => guarded(() => take(message)),
      onRecreated: (info) => {
        created = microsOf(info.created);
      },
      signal,
    });
  };
  try {
    guarded(flush);
    out.note(`log ${origin}, ${log.size} messages. Press Ctrl-C to stop.`);
    await Promise.all([...LOGGED_STREAMS].map(follow));
  } catch (error) {
    failed ??= error;
  } finally {
    clearInterval(timer);
    end.abort();
  }
  if (!failed) guarded(flush);
  if (failed) throw failed;
}
