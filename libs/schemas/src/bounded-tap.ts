/**
 * A reader for avsc that refuses to read past the end.
 *
 * avsc's own Tap reads zeros past the end and lets the caller find out afterwards; a message of twelve bytes can then keep a process
 * busy for minutes. This one throws at the first read past the end, so work is bounded by the length of the message.
 * It leans on the shape of avsc 5.7.9, which package.json pins; codec.test.ts holds it.
 */
import avscUtils from 'avsc/lib/utils.js';
import { SchemaError } from './errors.ts';

export class BoundedTap extends avscUtils.Tap {
  constructor() {
    super(Buffer.alloc(0), 0);
  }

  /** Points it at another message. The tap is reused because one message in flight is all that a synchronous decode has. */
  reset(buffer: Buffer, position: number): void {
    this.buf = buffer;
    this.pos = position;
  }

  private need(): void {
    if (this.pos >= this.buf.length) throw new SchemaError('TRUNCATED', 'the message ends before its last field');
  }

  override readLong(): number {
    const first = this.buf[this.pos];
    // One byte is what most integers and nearly all lengths take.
    if (first !== undefined && first < 0x80) {
      this.pos += 1;
      return (first >> 1) ^ -(first & 1);
    }
    this.needEndOfLong();
    return super.readLong();
  }

  /** A long is at most ten bytes, of which only the last is below 0x80. */
  private needEndOfLong(): void {
    for (let length = 1; length <= 10; length += 1) {
      const byte = this.buf[this.pos + length - 1];
      if (byte === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a number');
      if (byte < 0x80) return;
    }
    throw new SchemaError('MALFORMED', 'a number of more than ten bytes');
  }

  /**
   * Number of items in the next block of an array; 0 at its end. Each takes at least one byte, so more than there are bytes left is
   * refused before room is made for them.
   */
  readCount(): number {
    let count = this.readLong();
    if (count < 0) {
      count = -count;
      this.skipLong(); // Size of the block in bytes; we skip item by item, so it need not be believed.
    }
    if (count > this.buf.length - this.pos) throw new SchemaError('TRUNCATED', 'an array of more items than bytes');
    return count;
  }

  override readInt(): number {
    return this.readLong();
  }
  override skipLong(): void {
    this.needEndOfLong();
    super.skipLong();
  }
  override skipInt(): void {
    this.skipLong();
  }
  override readBoolean(): boolean {
    this.need();
    return super.readBoolean();
  }
  override skipBoolean(): void {
    this.need();
    super.skipBoolean();
  }
  override readFloat(): number {
    this.need();
    return super.readFloat();
  }
  override skipFloat(): void {
    this.need();
    super.skipFloat();
  }
  override readDouble(): number {
    this.need();
    return super.readDouble();
  }
  override skipDouble(): void {
    this.need();
    super.skipDouble();
  }
  override readFixed(length: number): Buffer {
    this.need();
    const fixed = super.readFixed(length);
    if (fixed === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a field');
    return fixed;
  }
  override skipFixed(length: number): void {
    this.need();
    super.skipFixed(length);
  }
  /** Skips so many longs, ints, booleans or enums in turn. */
  skipLongs(count: number): void {
    const { buf } = this;
    let { pos } = this;
    for (; count > 0; count -= 1) {
      const first = buf[pos];
      if (first !== undefined && first < 0x80) {
        pos += 1;
      } else {
        this.pos = pos;
        this.skipLong();
        pos = this.pos;
      }
    }
    this.pos = pos;
  }

  /** Skips so many strings or bytes in turn. */
  skipStrings(count: number): void {
    const { buf } = this;
    let { pos } = this;
    for (; count > 0; count -= 1) {
      const first = buf[pos];
      // An even byte below 0x80 is a length below 64.
      if (first !== undefined && (first & 0x81) === 0) {
        pos += 1 + (first >> 1);
      } else {
        this.pos = pos;
        this.skipBytes();
        pos = this.pos;
      }
    }
    this.pos = pos;
  }

  /** A length below zero would lead back to what was read, and an array of a million items would be read from twenty bytes. */
  override skipBytes(): void {
    const length = this.readLong();
    if (length < 0) throw new SchemaError('MALFORMED', 'a length below zero');
    this.pos += length;
  }
  override skipString(): void {
    this.skipBytes();
  }
  override readBytes(): Buffer {
    const bytes = super.readBytes();
    if (bytes === undefined) throw new SchemaError('MALFORMED', 'a length below zero');
    return bytes;
  }
  override readString(): string {
    const text = super.readString();
    if (text === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a string');
    if (this.pos > this.buf.length) throw new SchemaError('MALFORMED', 'a length below zero');
    return text;
  }
}
