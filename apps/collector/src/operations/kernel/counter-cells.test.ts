import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CellAllocator, NumberAllocator } from './counter-cells.ts';

describe('counter cells', () => {
  it('full - null; released cells are allocated again, joined with free neighbours', () => {
    const cells = new CellAllocator(10);
    const [a, b] = [cells.allocate(4), cells.allocate(4)];
    expect([a, b, cells.allocate(3)]).toEqual([0, 4, null]);
    cells.release(0, 4);
    cells.release(4, 4);
    expect([cells.used, cells.allocate(10)]).toEqual([0, 0]);
  });

  it('reserve - cells of an earlier process, once', () => {
    const cells = new CellAllocator(10);
    expect([cells.reserve(2, 3), cells.reserve(4, 2), cells.reserve(9, 2), cells.used]).toEqual([
      true,
      false,
      false,
      3,
    ]);
    expect([cells.allocate(2), cells.allocate(5)]).toEqual([0, 5]);
  });

  it('any run of allocations and releases - no cell has two owners, and all become free', () => {
    const step = fc.oneof(fc.record({ take: fc.integer({ min: 1, max: 20 }) }), fc.record({ release: fc.nat(50) }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const cells = new CellAllocator(100);
        const held: { base: number; count: number }[] = [];
        for (const one of steps) {
          if ('take' in one) {
            const base = cells.allocate(one.take);
            if (base !== null) held.push({ base, count: one.take });
          } else {
            const [back] = held.splice(one.release % Math.max(held.length, 1), 1);
            if (back) cells.release(back.base, back.count);
          }
          const owned = held.flatMap(({ base, count }) => Array.from({ length: count }, (_, i) => base + i));
          expect(new Set(owned).size).toBe(owned.length);
          expect(cells.used).toBe(owned.length);
        }
        for (const { base, count } of held) cells.release(base, count);
        expect(cells.allocate(100)).toBe(0);
      }),
    );
  });

  it('numbers - the lowest free one', () => {
    const numbers = new NumberAllocator(3);
    expect(numbers.reserve(1)).toBe(true);
    expect([numbers.allocate(), numbers.allocate(), numbers.allocate(), numbers.reserve(1)]).toEqual([
      0,
      2,
      null,
      false,
    ]);
    numbers.release(2);
    expect(numbers.allocate()).toBe(2);
  });
});
