/**
 * Reusable memory of the encoder. Each message is written into it and copied out.
 *
 * The copy makes reuse safe: a publisher keeps a message until its acknowledgement, and the socket
 * until it is written. avsc without it writes a large message twice (docs/adr/0016).
 */

/** Initial size; a frame of 64 violations has about 25 kB. */
const INITIAL_BYTES = 64 * 1024;
/** Largest message: max_payload of nats-server (1 MiB) less subject and headers. */
export const MAX_MESSAGE_BYTES = 1024 * 1024 - 16 * 1024;

export class ScratchBuffer {
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);

  /**
   * Calls `write(buffer)`, which returns the end position or, if the buffer is too small, minus the
   * number of missing bytes. Grows and repeats until it fits. Returns a copy of the written bytes;
   * null above MAX_MESSAGE_BYTES.
   */
  fill(write: (buffer: Buffer) => number): Buffer | null {
    for (;;) {
      const end = write(this.#buffer);
      if (end > MAX_MESSAGE_BYTES) return null;
      if (end >= 0) return Buffer.from(this.#buffer.subarray(0, end));
      const needed = this.#buffer.length - end;
      if (needed > MAX_MESSAGE_BYTES) return null;
      this.#buffer = Buffer.allocUnsafeSlow(Math.min(MAX_MESSAGE_BYTES, Math.max(needed, this.#buffer.length * 2)));
    }
  }
}
