import { describe, expect, it } from 'vitest';
import {
  MAX_BYTES,
  MAX_STRINGS,
  MAX_STRINGS_PER_NODE,
  MEMORY_MICROS,
  OTHER,
  StringInterner,
} from './string-interner.ts';

/** Brings so many strings of a length, from as few nodes as may. */
function fill(interner: StringInterner, count: number, length: number, nowMicros = 0): void {
  for (let i = 0; i < count; i++) {
    interner.numberOf(`${i}`.padEnd(length, '.'), `node-${Math.floor(i / MAX_STRINGS_PER_NODE)}`, nowMicros);
  }
}

describe('string interner', () => {
  it('one number per string for all nodes, and the string back', () => {
    const interner = new StringInterner(['known']);
    const number = interner.numberOf('a/b', 'node-a', 1);
    expect(interner.numberOf('a/b', 'node-b', 2)).toBe(number);
    expect(interner.textOf(number)).toBe('a/b');
    expect(interner.textOf(interner.numberOf('known', 'node-a', 1))).toBe('known');
    expect(interner.refused).toBe(0);
  });

  it('one node - uses only its share; known strings are available to all', () => {
    const interner = new StringInterner(['known']);
    for (let i = 0; i < MAX_STRINGS_PER_NODE + 100; i++) interner.numberOf(`own/${i}`, 'bad', 1);
    expect(interner.refused).toBe(100);
    expect(interner.textOf(interner.numberOf('one/more', 'bad', 1))).toBe(OTHER);
    expect(interner.textOf(interner.numberOf('known', 'bad', 1))).toBe('known');
    const honest = interner.numberOf('one/more', 'good', 1);
    expect(interner.textOf(honest)).toBe('one/more');
    expect(interner.numberOf('one/more', 'bad', 1)).toBe(honest);
  });

  it('many nodes - the number of strings is bounded, and known ones stay', () => {
    const interner = new StringInterner(['known']);
    fill(interner, MAX_STRINGS + 1_000, 8);
    expect(interner.size).toBe(MAX_STRINGS);
    expect(interner.refused).toBe(1_002);
    expect(interner.textOf(interner.numberOf('known', 'node-0', 1))).toBe('known');
  });

  it('many nodes - the total size is bounded', () => {
    const interner = new StringInterner();
    fill(interner, MAX_BYTES / 384 + 1_000, 384);
    expect(interner.bytes).toBeLessThanOrEqual(MAX_BYTES);
    expect(interner.bytes).toBeGreaterThan(MAX_BYTES - 384);
    expect(interner.refused).toBeGreaterThanOrEqual(1_000);
  });

  it('unused strings expire, used ones stay, and numbers are reused', () => {
    const interner = new StringInterner(['known']);
    const [old, used] = [interner.numberOf('old', 'a', 0), interner.numberOf('used', 'a', 0)];
    interner.use(used, 10);
    interner.sweep(MEMORY_MICROS);
    expect(interner.textOf(old)).toBe('old');
    interner.sweep(MEMORY_MICROS + 1);
    expect(interner.textOf(old)).toBe(OTHER);
    expect(interner.textOf(used)).toBe('used');
    expect(interner.numberOf('new', 'b', MEMORY_MICROS)).toBe(old);
    expect(interner.size).toBe(4);
    expect(interner.textOf(interner.numberOf('known', 'a', 0))).toBe('known');
  });

  it('a full node has room again when its strings expire', () => {
    const interner = new StringInterner();
    for (let i = 0; i < MAX_STRINGS_PER_NODE; i++) interner.numberOf(`own/${i}`, 'a', 0);
    expect(interner.numberOf('next', 'a', 0)).toBe(0);
    interner.sweep(MEMORY_MICROS + 1);
    expect(interner.textOf(interner.numberOf('next', 'a', MEMORY_MICROS))).toBe('next');
    expect(interner.bytes).toBe(OTHER.length + 'next'.length);
  });
});
