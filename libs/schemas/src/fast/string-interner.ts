/**
 * Cache of short strings that repeat: reading one again compares its bytes and creates no string.
 *
 * Bounds: PLACES strings of at most MAX_BYTES; the newer of two with the same slot is kept. Only
 * strings with as many characters as bytes are cached, so each character that equals a byte is ASCII.
 */
import type { BoundedTap } from '../codec/bounded-tap.ts';
import { SchemaError } from '../codec/errors.ts';
import type { TextLimit } from '../codec/limits.ts';

/** A power of two. */
const PLACES = 1_024;
const SHIFT = 22;
/** The longest address; MACs and process names are shorter. */
const MAX_BYTES = 45;

export class StringInterner {
  readonly #kept = new Array<string>(PLACES).fill('');

  /** Reads a string. @throws SchemaError like the tap */
  read(tap: BoundedTap, limit: TextLimit): string {
    const { buf, pos: start } = tap;
    const first = buf[start];
    // The length has one byte, and an even one: lengths are not negative.
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
