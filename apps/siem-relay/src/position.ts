/**
 * How far a reader has come, kept on the bus in `bailiff_siem`: written after what it tells of is done, so that a crash repeats and never skips.
 *
 * Place in the path: source-reader.ts and syslog/forwarder.ts move it; the next start reads it. Invariants: it is of one stream as it was made
 * then: of a stream made anew it says nothing. Bounds: one small value a reader, written WRITE_EVERY_MS at most.
 */
import { type Bucket, toBusError } from '@bailiff/bus';
import type { Cancel, Clock } from '@bailiff/service';
import * as z from 'zod';

const position = z.object({ created: z.string(), sequence: z.number().int().min(0) });
export type Position = z.output<typeof position>;

/** What a crash may repeat of a quiet stream; two writes a second of 60 bytes each are nothing to the bus. */
const WRITE_EVERY_MS = 500;

export interface PositionOptions {
  bucket: Bucket;
  key: string;
  clock: Clock;
  onError(error: Error): void;
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

  /** Null when there is none, or what is there cannot be read: then the reading begins anew, and events come twice rather than never. */
  async read(): Promise<Position | null> {
    const entry = await this.#o.bucket.get(this.#o.key);
    if (entry === null) return null;
    try {
      return position.parse(JSON.parse(entry.value.toString('utf8')));
    } catch (error) {
      this.#o.onError(error as Error);
      return null;
    }
  }

  move(to: Position): void {
    this.#wanted = to;
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

  /** Writes what is not written yet, once, and ends. */
  async close(): Promise<void> {
    this.#cancel();
    await this.#writing;
    await this.#write();
  }
}
