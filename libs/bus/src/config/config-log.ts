/**
 * The changes of the configuration in CONFIG_LOG, and the proof that no older change is
 * outstanding. Keeps no values.
 *
 * A frame is judged by the newest configuration stored at least 1 s before it, so live judging must
 * have read all changes up to then. stream-watermark.ts proves it, and the proof is renewed ahead
 * of need while callers query.
 */

import { FORMER_CONFIG_MICROS, SIGNATURE_HEADER } from '@bailiff/policy';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { microsOf } from '../connection/server-clock.ts';
import { isDeletion, isKey } from '../kv/bucket.ts';
import { findStream, type StreamMessage } from '../streams/direct.ts';
import { consumeOrdered } from '../streams/ordered.ts';
import { createdMicrosOf } from '../streams/stream-lives.ts';
import { StreamWatermark } from '../streams/stream-watermark.ts';
import { ROOT } from '../topology/subjects.ts';

const PREFIX = `${ROOT}.config.`;

export interface ConfigChange {
  /** Sequence in CONFIG_LOG. */
  sequence: number;
  /** When the bus stored the change. */
  timestampMicros: number;
  key: string;
  /** null = deleted */
  json: string | null;
  by: string;
  why: string;
  /** Empty: unsigned. Readers verify it (SignedConfig). */
  signature: string;
}

/**
 * The change that a message of CONFIG_LOG stores. Null if its subject is not a valid key: a writer
 * with permission for the whole bucket can store one, and CONFIG_LOG contains it too, whether or not
 * the subject transform of its source (topology.ts) applied.
 */
export function changeOf(message: StreamMessage): ConfigChange | null {
  const { data, headers, sequence, subject, timestampMicros } = message;
  const key = subject.slice(PREFIX.length);
  if (!subject.startsWith(PREFIX) || !isKey(key)) return null;
  return {
    sequence,
    timestampMicros,
    key,
    json: isDeletion(message) ? null : Buffer.from(data).toString('utf8'),
    by: headers?.get('Bailiff-By') ?? '',
    why: headers?.get('Bailiff-Why') ?? '',
    signature: headers?.get(SIGNATURE_HEADER) ?? '',
  };
}

/** Versions of the configuration by time (VersionedConfig). */
interface Versions {
  coverEarlier(timeMicros: number): void;
}

/** Where CONFIG_LOG begins, microseconds. */
export interface LogStart {
  createdMicros: number;
  /** Of its first message. A restored log has changes from before its creation. */
  firstMicros: number;
}

/** Null: there is no log, or it is empty. @throws BusError */
export async function readLogStart(bus: Bus): Promise<(LogStart & { lastMicros: number }) | null> {
  const info = await findStream(bus, 'CONFIG_LOG');
  if (!info || info.state.messages === 0) return null;
  const { state } = info;
  return {
    createdMicros: createdMicrosOf(info),
    firstMicros: microsOf(state.first_ts),
    lastMicros: microsOf(state.last_ts),
  };
}

/**
 * CONFIG_LOG that was made again begins later than the messages that are judged by it. Without this, the
 * built-in configuration would judge them. The versions must have all changes of the log.
 * @param firstMicros of the messages
 * @returns where the log begins, if that is later: the configuration from before is not known. Otherwise null
 */
export function coverMessages(versions: readonly Versions[], log: LogStart, firstMicros: number): number | null {
  const fromMicros = Math.min(log.createdMicros, log.firstMicros);
  if (fromMicros <= firstMicros) return null;
  for (const one of versions) one.coverEarlier(fromMicros + FORMER_CONFIG_MICROS);
  return fromMicros;
}

/**
 * The same for a log that is being followed. Resolves when the log is read as far as needed.
 * @param firstMicros of the messages @throws BusError
 */
export async function coverFrom(
  bus: Bus,
  log: Pick<ConfigLog, 'whenCompleteTo'>,
  versions: Versions,
  firstMicros: number,
): Promise<void> {
  const start = await readLogStart(bus);
  if (!start || Math.min(start.createdMicros, start.firstMicros) <= firstMicros) return;
  await log.whenCompleteTo(start.lastMicros);
  coverMessages([versions], start, firstMicros);
}

export interface ConfigLogOptions {
  /** Called for each change, in order. Must not throw. */
  onChange(change: ConfigChange): void;
  /**
   * CONFIG_LOG was recreated: its changes are reported from the first on, and sequences restart.
   * The previous configuration stays in force until the new log changes it. Must not throw.
   */
  onRecreated?(): void;
}

export class ConfigLog {
  readonly #end = new AbortController();
  readonly #reading: Promise<void>;
  readonly #watermark: StreamWatermark;

  /** Starts reading at once; the caller closes it. */
  constructor(bus: Bus, options: ConfigLogOptions) {
    this.#watermark = new StreamWatermark(bus, 'CONFIG_LOG', this.#end.signal);
    this.#reading = consumeOrdered(bus, 'CONFIG_LOG', {
      start: 'all',
      onMessage: (message) => {
        this.#watermark.advanceTo(message.sequence);
        const change = changeOf(message);
        if (change) options.onChange(change);
      },
      onRecreated: () => {
        this.#watermark.streamRecreated();
        options.onRecreated?.();
      },
      signal: this.#end.signal,
    }).catch((cause: unknown) => {
      this.#end.abort(toBusError(cause, 'CONFIG_LOG'));
    });
  }

  /** Every change at or before this server time has been read. */
  get completeToMicros(): number {
    return this.#watermark.completeToMicros;
  }

  /** Whether every change stored up to a time was reported. Synchronous, for the common case. */
  isCompleteTo(timeMicros: number): boolean {
    return this.#watermark.isCompleteTo(timeMicros);
  }

  /**
   * Resolves when every change stored up to a time was reported; also accepts a future time.
   * @throws BusError BUS_CLOSED, BUS_PERMISSION
   */
  whenCompleteTo(timeMicros: number): Promise<void> {
    return this.#watermark.whenCompleteTo(timeMicros);
  }

  async close(): Promise<void> {
    this.#end.abort(new BusError('BUS_CLOSED', 'the configuration log is closed'));
    await this.#reading;
  }
}
