/**
 * Short strings that come again and again, made once: reading one that was read before costs a comparison of its bytes.
 *
 * Bounds: PLACES strings of at most MAX_BYTES; of two that fall on one place the newer is kept. Only strings of as many characters as bytes are
 * kept, so each character that equals a byte is ASCII.
 */
import type { BoundedTap } from '../codec/bounded-tap.ts';
import { SchemaError } from '../codec/errors.ts';
import type { TextLimit } from '../codec/limits.ts';

/** A power of two. */
const PLACES = 1_024;
const SHIFT = 22;
/** The longest address, MAC, name of a field or of a process. */
const MAX_BYTES = 45;

export class StringInterner {
  readonly #kept = new Array<string>(PLACES).fill('');

  /** Reads a string. @throws SchemaError as the tap does */
  read(tap: BoundedTap, limit: TextLimit): string {
    const { buf, pos: start } = tap;
    const first = buf[start];
    // One byte for the length: an even one, as lengths are not negative.
    if (first === 0) {
      tap.pos = start + 1;
      return '';
    }
    if (first === undefined || first > 2 * MAX_BYTES || (first & 1) === 1) return tap.readText(limit);
    const from = start + 1;
    const end = from + (first >> 1);
    if (end > buf.length) throw new SchemaError('TRUNCATED', 'the message ends within a string');
    let hash = first;
    for (let at = from; at < end; at += 1) hash = Math.imul(hash, 31) + (buf[at] as number);
    const place = Math.imul(hash, 0x9e3779b1) >>> SHIFT;
    const kept = this.#kept[place] as string;
    if (isText(buf, from, end, kept)) {
      tap.pos = end;
      return kept;
    }
    const text = tap.readString();
    if (text.length === end - from) this.#kept[place] = text;
    return text;
  }
}

function isText(buf: Buffer, from: number, end: number, text: string): boolean {
  if (text.length !== end - from) return false;
  for (let i = 0; i < text.length; i += 1) if (buf[from + i] !== text.charCodeAt(i)) return false;
  return true;
}
