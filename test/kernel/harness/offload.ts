/**
 * Frames that change after the decision: the kernel fills in a checksum where the sender asks for
 * it. The sender chooses two other bytes so that the sum is the wanted word. Pure.
 */
import { checksum } from '@bailiff/lab/frames';

export interface Turned {
  /** As sent and checked. */
  readonly sent: Buffer;
  /** As it is once the checksum is filled in. */
  readonly landed: Buffer;
  readonly checksum: { readonly start: number; readonly offset: number };
}

/**
 * @param frame the checked frame
 * @param at offset of the word that changes
 * @param word its new value
 * @param start first byte that the checksum covers, an even number of bytes before `at`; default `at`
 * @param filler offset of the two bytes that compensate for it; by default they follow the packet
 */
export function turned(
  frame: Buffer,
  at: number,
  word: number,
  options: { start?: number; filler?: number } = {},
): Turned {
  const { start = at } = options;
  const padding = options.filler === undefined ? 2 + ((frame.length - start) % 2) : 0;
  const sent = Buffer.concat([frame, Buffer.alloc(padding)]);
  const filler = options.filler ?? sent.length - 2;
  sent.writeUInt16BE(0, filler);
  const sum = 0xffff - word + checksum(sent.subarray(start));
  sent.writeUInt16BE((sum & 0xffff) + (sum >>> 16), filler);
  const landed = Buffer.from(sent);
  landed.writeUInt16BE(word, at);
  return { sent, landed, checksum: { start, offset: at - start } };
}

/**
 * The same frame with its own checksum left to the kernel, as a socket would: the field holds the
 * sum of the pseudo header.
 */
export function leftToKernel(frame: Buffer, start: number, offset: number): Turned {
  const sent = Buffer.from(frame);
  const own = sent.readUInt16BE(start + offset);
  sent.writeUInt16BE(0, start + offset);
  // The part that the kernel adds to restore the original checksum.
  const rest = 0xffff - own + checksum(sent.subarray(start));
  sent.writeUInt16BE((rest & 0xffff) + (rest >>> 16), start + offset);
  return { sent, landed: frame, checksum: { start, offset } };
}
