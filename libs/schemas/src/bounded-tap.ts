/**
 * A reader for avsc that refuses to read past the end.
 *
 * avsc's own Tap reads zeros past the end and lets the caller find out afterwards. A message of twelve bytes can then claim an
 * array of two thousand million records and keep the process busy building them. This one throws at the first read past the
 * end, so work and memory are bounded by the length of the message (each array item of our schemas reads at least one byte).
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

  /** Written so that NaN, which a length beyond 2^1024 becomes, is past the end too. */
  private need(): void {
    if (!(this.pos < this.buf.length)) throw new SchemaError('TRUNCATED', 'the message ends before its last field');
  }

  override readLong(): number {
    const byte = this.buf[this.pos];
    if (byte === undefined) this.need();
    // One byte is what most integers and nearly all lengths take.
    if (byte !== undefined && byte < 0x80) {
      this.pos += 1;
      return (byte >> 1) ^ -(byte & 1);
    }
    return super.readLong();
  }
  override readInt(): number {
    return this.readLong();
  }
  override skipLong(): void {
    this.need();
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
  override readString(): string {
    const text = super.readString();
    if (text === undefined) throw new SchemaError('TRUNCATED', 'the message ends within a string');
    if (this.pos > this.buf.length) throw new SchemaError('MALFORMED', 'a length below zero');
    return text;
  }
}
