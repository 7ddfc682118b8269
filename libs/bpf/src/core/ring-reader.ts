/**
 * Consumer of a BPF ring buffer.
 *
 * Place in the data path: kernel ring → libuv (epoll descriptor, no polling) → onBatch, at most
 * once per loop turn.
 * A batch is one Buffer of frames: u32 length (host order), that many bytes, zero padding to a
 * multiple of 8. Limits: a batch ends at `maxRecords` or once `maxBytes`
 * is reached; the next loop turn delivers the rest. A record is delivered once, in the order of the
 * ring.
 * A throwing onBatch is an uncaughtException; its batch counts as delivered, and the reader
 * continues. The reader keeps itself and the loop alive until close; records in the ring stay there
 * for the next reader.
 */
import type { BpfMap } from './bpf-map.ts';
import { type NativeRingReader, native } from './native.ts';
import { NativeHandle } from './native-handle.ts';

/** About 5 ms of decoding. More would delay timers and acks. */
export const DEFAULT_MAX_RECORDS = 1024;
export const DEFAULT_MAX_BYTES = 256 * 1024;

export interface RingReaderOptions {
  readonly onBatch: (batch: Buffer, count: number) => void;
  readonly maxRecords?: number;
  readonly maxBytes?: number;
}

export class RingReader extends NativeHandle<NativeRingReader> {
  readonly #onBatch: (batch: Buffer, count: number) => void;
  /** More than the records that the ring can hold, which each have a longer header there. */
  readonly #ringBytes: number;

  /** The map may be closed afterwards. Errors: BPF_RING; EINVAL if it is not a ring buffer. */
  constructor(map: BpfMap, options: RingReaderOptions) {
    const { onBatch, maxRecords = DEFAULT_MAX_RECORDS, maxBytes = DEFAULT_MAX_BYTES } = options;
    super(native().openRing(map.native, onBatch, maxRecords, maxBytes));
    this.#onBatch = onBatch;
    this.#ringBytes = map.info.maxEntries;
  }

  /** One batch, without waiting; null if the ring is empty. */
  take(): { readonly batch: Buffer; readonly count: number } | null {
    return this.native.take();
  }

  /**
   * Delivers the records that are in the ring now, synchronously. Returns their number. It ends even
   * if the kernel writes as fast as it reads.
   */
  drain(): number {
    let records = 0;
    for (let bytes = 0; bytes < this.#ringBytes; ) {
      const taken = this.native.take();
      if (taken === null) break;
      bytes += taken.batch.length;
      records += taken.count;
      this.#onBatch(taken.batch, taken.count);
    }
    return records;
  }
}
