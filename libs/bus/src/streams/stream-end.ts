/**
 * The newest sequence of a stream, also while the server's queue of API requests is blocked.
 *
 * All clients share that queue, and one that floods it delays or drops the requests of all. The
 * leader of a stream responds through it. Without a response within PATIENCE_MS, a direct get reads
 * the newest message: it does not pass the queue. On a single server both are exact. In a cluster
 * any replica serves the direct get, and one that lags reports an earlier end.
 *
 * Used where a running service must know that it has read everything. A start, a new consumer and
 * a replay still need the queue.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { microsOf } from '../connection/server-clock.ts';
import { getNewest, streamInfo } from './direct.ts';

/**
 * The server responds within milliseconds. A watermark that waits this long for each renewal is
 * still younger than a second (stream-watermark.ts).
 */
const PATIENCE_MS = 200;

export interface StreamEnd {
  /** 0 if the stream never held a message. */
  sequence: number;
  /** Server time at which, or after which, this was the newest sequence. */
  atMicros: number;
  /** Response of the stream's leader; null if it did not arrive in time. */
  info: (StreamInfo & { ts?: string }) | null;
}

/** @throws BusError as streamInfo, except a timeout of the queue */
export async function streamEnd(bus: Bus, stream: string): Promise<StreamEnd> {
  const beforeMicros = bus.serverClock.nowMicros();
  try {
    const info = await streamInfo(bus, stream, undefined, { timeoutMs: PATIENCE_MS });
    const serverMicros = microsOf(info.ts ?? '');
    if (Number.isNaN(serverMicros)) throw new BusError('BUS_MESSAGE', 'the STREAM.INFO reply has no server time');
    return { sequence: info.state.last_seq, atMicros: Math.min(beforeMicros, serverMicros), info };
  } catch (error) {
    if (!(error instanceof BusError) || error.code !== 'BUS_TIMEOUT') throw error;
  }
  return { sequence: (await getNewest(bus, stream))?.sequence ?? 0, atMicros: beforeMicros, info: null };
}
