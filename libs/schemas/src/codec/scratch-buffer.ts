/**
 * The encoder's scratch memory: one Buffer that is written over and over, from which each message is copied out.
 *
 * The copy is what makes reuse safe: a publisher keeps a message until it is acknowledged, and the socket keeps it until it is
 * written. A copy of exact size is still several times cheaper than letting the encoder grow a Buffer for each message.
 */

/** First size; a frame of 64 violations takes about 25 kB. */
const INITIAL_BYTES = 64 * 1024;
/** Largest message: what nats-server takes (max_payload 1 MiB), less room for subject and headers. */
export const MAX_MESSAGE_BYTES = 1024 * 1024 - 16 * 1024;

export class ScratchBuffer {
  private buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);

  /**
   * Runs `write(buffer)`, which answers the end position or, when the buffer is too small, minus the number of missing bytes;
   * grows and repeats until it fits. Answers a copy of what was written; null when it would exceed MAX_MESSAGE_BYTES.
   */
  fill(write: (buffer: Buffer) => number): Buffer | null {
    for (;;) {
      const end = write(this.buffer);
      if (end > MAX_MESSAGE_BYTES) return null;
      if (end >= 0) return Buffer.from(this.buffer.subarray(0, end));
      const needed = this.buffer.length - end;
      if (needed > MAX_MESSAGE_BYTES) return null;
      this.buffer = Buffer.allocUnsafeSlow(Math.min(MAX_MESSAGE_BYTES, Math.max(needed, this.buffer.length * 2)));
    }
  }
}
