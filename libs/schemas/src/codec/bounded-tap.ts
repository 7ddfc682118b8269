/**
 * Cursor for avsc that throws at the first read past the end, so that the message bounds the work.
 *
 * avsc's own Tap reads zeros past the end, and the caller detects it afterwards. A message of twelve
 * bytes can then keep a process busy for minutes. The class depends on internals of avsc 5.7.9,
 * which package.json pins; codec.test.ts detects a change.
 */
import avscUtils from 'avsc/lib/utils.js';
import { SchemaError } from './errors.ts';
import { type ListLimit, listTooLong, type TextLimit, textTooLong } from './limits.ts';

export class BoundedTap extends avscUtils.Tap {
  constructor() {
    super(Buffer.alloc(0), 0);
  }

  /** Moves to another message. One tap is enough: a synchronous decode reads one message at a time. */
  reset(buffer: Buffer, position: number): void {
    this.buf = buffer;
    this.pos = position;
  }

  #need(): void {
    if (this.pos >= this.buf.length) throw new SchemaError('TRUNCATED', 'the message ends before its last field');
  }

  override readLong(): number {
    const first = this.buf[this.pos];
    // Most integers and nearly all lengths have one byte.
    if (first !== undefined && first < 0x80) {
      this.pos += 1;
      return (first >> 1) ^ -(first & 1);
    }
    this.#needEndOfLong();
    return super.readLong();
  }

  /** A long has at most ten bytes. Only the last one is below 0x80. */
  #needEndOfLong(): void {
    for (let length = 1; length <= 10; length += 1) {
      const byte = this.buf[this.pos + length - 1];
      if (byte === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a number');
      if (byte < 0x80) return;
    }
    throw new SchemaError('MALFORMED', 'a number of more than ten bytes');
  }

  /**
   * Number of items in the next block of an array; 0 at its end. An item has at least one byte, so a
   * number above the remaining bytes is rejected before memory is allocated.
   */
  readCount(): number {
    let count = this.readLong();
    if (count < 0) {
      count = -count;
      this.skipLong(); // Size of the block in bytes. Items are skipped one by one, so it is not used.
    }
    if (count > this.buf.length - this.pos) throw new SchemaError('TRUNCATED', 'an array of more items than bytes');
    return count;
  }

  override readInt(): number {
    return this.readLong();
  }
  override skipLong(): void {
    this.#needEndOfLong();
    super.skipLong();
  }
  override skipInt(): void {
    this.skipLong();
  }
  override readBoolean(): boolean {
    this.#need();
    return super.readBoolean();
  }
  override skipBoolean(): void {
    this.#need();
    super.skipBoolean();
  }
  override readFloat(): number {
    this.#need();
    return super.readFloat();
  }
  override skipFloat(): void {
    this.#need();
    super.skipFloat();
  }
  override readDouble(): number {
    this.#need();
    return super.readDouble();
  }
  override skipDouble(): void {
    this.#need();
    super.skipDouble();
  }
  override readFixed(length: number): Buffer {
    this.#need();
    const fixed = super.readFixed(length);
    if (fixed === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a field');
    return fixed;
  }
  override skipFixed(length: number): void {
    this.#need();
    super.skipFixed(length);
  }
  /** Skips a number of longs, ints, booleans or enums. */
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

  /** Skips a string or bytes for each limit. @throws SchemaError FIELD_TOO_LONG */
  skipTexts(limits: readonly TextLimit[]): void {
    for (let i = 0; i < limits.length; i += 1) this.skipText(limits[i] as TextLimit);
  }

  skipText(limit: TextLimit): void {
    const first = this.buf[this.pos];
    // An even byte below 0x80 is a length below 64.
    if (first !== undefined && (first & 0x81) === 0) {
      this.pos += 1 + (first >> 1);
      return;
    }
    this.#needWithin(limit);
    this.skipBytes();
  }

  readText(limit: TextLimit): string {
    this.#needWithin(limit);
    return this.readString();
  }

  readLimitedBytes(limit: TextLimit): Buffer {
    this.#needWithin(limit);
    return this.readBytes();
  }

  /** Checks the next length. */
  #needWithin(limit: TextLimit): void {
    const { pos } = this;
    if ((this.buf[pos] as number) < 0x80) return;
    const length = this.readLong();
    if (length > limit.bytes) throw textTooLong(limit, length);
    this.pos = pos;
  }

  /**
   * Items of the next block of an array after `before` items; 0 at its end.
   * @throws SchemaError FIELD_TOO_LONG
   */
  readItems(limit: ListLimit, before: number): number {
    const count = this.readCount();
    if (before + count > limit.items) throw listTooLong(limit, before + count);
    return count;
  }

  /** A negative length would move back, and twenty bytes could contain an array of a million items. */
  override skipBytes(): void {
    const length = this.readLong();
    if (length < 0) throw new SchemaError('MALFORMED', 'a negative length');
    this.pos += length;
  }
  override skipString(): void {
    this.skipBytes();
  }
  override readBytes(): Buffer {
    const bytes = super.readBytes();
    if (bytes === undefined) throw new SchemaError('MALFORMED', 'a negative length');
    return bytes;
  }
  override readString(): string {
    const text = super.readString();
    if (text === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a string');
    if (this.pos > this.buf.length) throw new SchemaError('MALFORMED', 'a negative length');
    return text;
  }
}
