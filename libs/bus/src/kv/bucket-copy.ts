/**
 * Reads `LATEST_<bucket>`, the copy of a bucket with the newest revision of each key.
 *
 * Nodes read copies only. While nats-server serves the direct gets of a stream, the writes to that
 * stream wait: a node that sends them without pause would hold up pod lists, quarantines and
 * configuration. A copy has no other writer than the server.
 *
 * A copy has sequences and times of its own. The server adds the revision in the bucket as a header;
 * the time in the bucket is not known. On a bus of an earlier version, which has no copy or refuses
 * it, keys are read from the bucket.
 */
import type { Bus } from '../connection/connect.ts';
import { toBusError } from '../connection/errors.ts';
import { getLastMessage, getNextMessage, type StreamMessage } from '../streams/direct.ts';
import { latestStream } from '../topology/topology.ts';
import { type Bucket, entryOf, type KvEntry, openBucket } from './bucket.ts';

/** Position of a message, in a bucket or in its copy. */
export interface Place {
  revision: number;
  /** NaN: not known. */
  timestampMicros: number;
}

export interface CopiedEntry {
  /** With the revision in the bucket, and without a time. */
  entry: KvEntry;
  /** In the stream that it was read from. */
  place: Place;
  stream: string;
}

export class BucketCopy {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #prefix: string;
  readonly #bucket: Bucket;

  constructor(bus: Bus, bucket: string) {
    this.#bus = bus;
    this.#bucket = openBucket(bus, bucket);
    this.#stream = latestStream(bucket);
    this.#prefix = `$KV.${bucket}.`;
  }

  /** Newest entry of a key, tombstones included, and the stream that was read. @throws BusError */
  async newest(key: string): Promise<{ found: CopiedEntry | null; stream: string }> {
    try {
      const message = await getLastMessage(this.#bus, this.#stream, this.#prefix + key);
      return { found: message && this.#copied(message), stream: this.#stream };
    } catch (error) {
      const { code } = toBusError(error, this.#stream);
      if (code !== 'BUS_NO_STREAM' && code !== 'BUS_PERMISSION') throw error;
      const entry = await this.#bucket.newest(key);
      const stream = `KV_${this.#bucket.name}`;
      return { found: entry && { entry, place: entry, stream }, stream };
    }
  }

  /** First entry at or after a sequence of the copy under a filter. @throws BusError */
  async next(sequence: number, filter = '>'): Promise<CopiedEntry | null> {
    const message = await getNextMessage(this.#bus, this.#stream, sequence, this.#prefix + filter);
    return message && this.#copied(message);
  }

  #copied(message: StreamMessage): CopiedEntry {
    // The last one: a writer of the bucket may have set the header too.
    const revision = Number(/^\S+ (\d+) /.exec(message.headers?.last('Nats-Stream-Source') ?? '')?.[1]);
    const { sequence, timestampMicros } = message;
    const entry = { ...entryOf(message, this.#prefix), revision, timestampMicros: Number.NaN };
    return { entry, place: { revision: sequence, timestampMicros }, stream: this.#stream };
  }
}
