/**
 * Position of a reader, stored on the bus in `bailiff_siem` after the events up to it are
 * delivered. A crash repeats events and skips none.
 *
 * source-reader.ts and outputs/runner.ts advance it; the next start reads it. It is valid for one
 * life of the stream and ignored for a recreated one. Limit: one value a reader, small but for `ahead`,
 * written at most every WRITE_EVERY_MS.
 */
import { type Bucket, toBusError } from '@bailiff/bus';
import type { Cancel, Clock } from '@bailiff/service';
import * as z from 'zod';

const position = z.object({
  created: z.string(),
  sequence: z.number().int().min(0),
  /** What SIEM had when nothing waited for the output. Nothing is read from here: it only decides what is lost. */
  known: z.number().int().min(0).optional(),
  /** Sequences after `sequence` that an output has delivered too, because namespaces take turns: MAX_AHEAD and MAX_HELD at most. */
  ahead: z.array(z.number().int().min(0)).optional(),
  output: z.string().optional(),
});
export type Position = z.output<typeof position>;

/**
 * Bounds what a crash repeats on a quiet stream. Two writes of 60 bytes a second are negligible.
 */
const WRITE_EVERY_MS = 500;

export interface PositionOptions {
  bucket: Bucket;
  key: string;
  /** Name of the output, for a key that outputs of several names use over time. */
  output?: string | undefined;
  clock: Clock;
  onError(error: Error): void;
}

/** Of a value that no relay wrote. It is valid for no stream, so that an output that begins with new events repeats them too. */
const UNREADABLE: Position = { created: '', sequence: 0 };

/** The position of a key; null if there is none. @throws BusError */
export async function readPosition(
  bucket: Bucket,
  key: string,
  onError: (error: Error) => void,
): Promise<Position | null> {
  const entry = await bucket.newest(key);
  if (entry === null || entry.deleted) return null;
  try {
    // The value of an injected reply is empty, and so is invalid JSON.
    return position.parse(JSON.parse(entry.value.toString('utf8')));
  } catch (error) {
    onError(error as Error);
    return UNREADABLE;
  }
}

export class PositionKeeper {
  readonly #o: PositionOptions;
  readonly #cancel: Cancel;
  #wanted: Position | null = null;
  #written: Position | null = null;
  #writing: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(options: PositionOptions) {
    this.#o = options;
    this.#cancel = options.clock.setRepeating(() => {
      if (!this.#busy) void this.#write();
    }, WRITE_EVERY_MS);
  }

  /** Null if there is none. One that cannot be read starts over, which repeats events instead of losing them. */
  async read(): Promise<Position | null> {
    const { bucket, key, output, onError } = this.#o;
    const stored = await readPosition(bucket, key, onError);
    return stored === UNREADABLE || stored?.output === output ? stored : null;
  }

  move(to: Omit<Position, 'output'>): void {
    const { output } = this.#o;
    this.#wanted = { ...to, ...(output === undefined ? {} : { output }) };
  }

  async #write(): Promise<void> {
    const wanted = this.#wanted;
    if (wanted === null || wanted === this.#written) return;
    this.#busy = true;
    this.#writing = this.#o.bucket.put(this.#o.key, JSON.stringify(wanted)).then(
      () => {
        this.#written = wanted;
      },
      (error: unknown) => this.#o.onError(toBusError(error, `position of ${this.#o.key}`)),
    );
    await this.#writing;
    this.#busy = false;
  }

  /** Writes the last position once and stops. */
  async close(): Promise<void> {
    this.#cancel();
    await this.#writing;
    await this.#write();
  }
}
