import { describe, expect, it } from 'vitest';
import { Interner, MAX_BYTES, MAX_STRINGS, MAX_STRINGS_PER_NODE, MEMORY_MICROS, OTHER } from './string-interner.ts';

/** Brings so many strings of a length, from as few nodes as may. */
function fill(interner: Interner, count: number, length: number, nowMicros = 0): void {
  for (let i = 0; i < count; i++) {
    interner.numberOf(`${i}`.padEnd(length, '.'), `node-${Math.floor(i / MAX_STRINGS_PER_NODE)}`, nowMicros);
  }
}

describe('interner', () => {
  it('gives one number for a string, whichever node has it, and the string back', () => {
    const interner = new Interner(['known']);
    const number = interner.numberOf('a/b', 'node-a', 1);
    expect(interner.numberOf('a/b', 'node-b', 2)).toBe(number);
    expect(interner.textOf(number)).toBe('a/b');
    expect(interner.textOf(interner.numberOf('known', 'node-a', 1))).toBe('known');
    expect(interner.refused).toBe(0);
  });

  it('one node - uses up its own share only; another is served, and what is known already is for all', () => {
    const interner = new Interner(['known']);
    for (let i = 0; i < MAX_STRINGS_PER_NODE + 100; i++) interner.numberOf(`own/${i}`, 'bad', 1);
    expect(interner.refused).toBe(100);
    expect(interner.textOf(interner.numberOf('one/more', 'bad', 1))).toBe(OTHER);
    expect(interner.textOf(interner.numberOf('known', 'bad', 1))).toBe('known');
    const honest = interner.numberOf('one/more', 'good', 1);
    expect(interner.textOf(honest)).toBe('one/more');
    expect(interner.numberOf('one/more', 'bad', 1)).toBe(honest);
  });

  it('many nodes - keeps to its entries, and known ones stay', () => {
    const interner = new Interner(['known']);
    fill(interner, MAX_STRINGS + 1_000, 8);
    expect(interner.size).toBe(MAX_STRINGS);
    expect(interner.refused).toBe(1_002);
    expect(interner.textOf(interner.numberOf('known', 'node-0', 1))).toBe('known');
  });

  it('many nodes - keeps to its bytes', () => {
    const interner = new Interner();
    fill(interner, MAX_BYTES / 384 + 1_000, 384);
    expect(interner.bytes).toBeLessThanOrEqual(MAX_BYTES);
    expect(interner.bytes).toBeGreaterThan(MAX_BYTES - 384);
    expect(interner.refused).toBeGreaterThanOrEqual(1_000);
  });

  it('what nothing names any more makes room, what is used stays, and numbers are given again', () => {
    const interner = new Interner(['known']);
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

  it('a node that is full has room again when its strings are forgotten', () => {
    const interner = new Interner();
    for (let i = 0; i < MAX_STRINGS_PER_NODE; i++) interner.numberOf(`own/${i}`, 'a', 0);
    expect(interner.numberOf('next', 'a', 0)).toBe(0);
    interner.sweep(MEMORY_MICROS + 1);
    expect(interner.textOf(interner.numberOf('next', 'a', MEMORY_MICROS))).toBe('next');
    expect(interner.bytes).toBe(OTHER.length + 'next'.length);
  });
});
