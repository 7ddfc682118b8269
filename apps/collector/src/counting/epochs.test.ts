import { COUNTER_NUMBERS, type Vector } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOf, CELL_NAMES, CELLS, cellOf, EpochBook, isBeforeGuard, packetsOf, skbsOf } from './epochs.ts';

const at = (vector: Vector) => cellOf({ vector, action: 'drop', state: 'programmed' });
const SPOOF = at('ipv4-source');

/** A reading of the kernel with these packets. */
function reading(packets: number, more: Partial<Record<Vector, number>> = {}): Float64Array {
  const counters = new Float64Array(COUNTER_NUMBERS);
  for (const [vector, count] of Object.entries({ 'ipv4-source': packets, ...more }))
    counters.set([count, count, count * 60], at(vector as Vector) * 3);
  return counters;
}

describe('epochs', () => {
  it('cells have the names that the kernel’s layout gives them', () => {
    expect(CELL_NAMES[cellOf({ vector: 'malformed', action: 'drop', state: 'provisional' })]).toEqual({
      vector: 'malformed',
      action: 'drop',
      state: 'provisional',
    });
    expect(cellOf({ vector: 'malformed', action: 'drop', state: 'provisional' })).toBe((9 * 2 + 1) * 3 + 1);
    expect(new Set(CELL_NAMES.map(cellOf)).size).toBe(CELL_NAMES.length);
  });
  it('what grew is reported once it is enqueued', () => {
    const book = new EpochBook();
    expect(book.grown(reading(5))).toEqual([SPOOF]);
    book.enqueue(SPOOF, 5);
    expect(book.grown(reading(5))).toEqual([]);
    expect(book.grown(reading(9))).toEqual([SPOOF]);
    expect(book.enqueued(SPOOF)).toBe(5);
    expect([packetsOf, skbsOf, bytesOf].map((of) => of(reading(9), SPOOF))).toEqual([9, 9, 540]);
  });
  it('settled only when all of it is acknowledged, in whatever order', () => {
    const book = new EpochBook();
    book.enqueue(SPOOF, 5);
    book.enqueue(SPOOF, 9);
    expect(book.settled(reading(0))).toBe(true);
    expect(book.settled(reading(5))).toBe(false);
    book.ack(SPOOF, 9);
    book.ack(SPOOF, 5);
    expect(book.settled(reading(9))).toBe(true);
    expect(book.settled(reading(10))).toBe(false);
  });
  it('what is forgiven is neither reported nor owed, and the rest is', () => {
    const book = new EpochBook();
    const counters = reading(5, { 'arp-sender': 3 });
    book.forgive(counters, ({ vector }) => vector === 'arp-sender');
    expect(book.grown(counters)).toEqual([SPOOF]);
    book.ack(SPOOF, 5);
    expect(book.settled(counters)).toBe(true);
  });
  it('a process that starts from what was acknowledged reports the rest', () => {
    const first = new EpochBook();
    first.enqueue(SPOOF, 5);
    first.enqueue(at('arp-sender'), 3);
    first.ack(SPOOF, 5);
    const second = new EpochBook(first.acked());
    expect(second.grown(reading(5, { 'arp-sender': 3 }))).toEqual([at('arp-sender')]);
  });
  it('what was forgiven has no last word, after a restart neither; what was said has, and so has what grew since', () => {
    const unknown = reading(5);
    const cell = cellOf({ vector: 'unknown-interface', action: 'audit', state: 'unknown' });
    unknown[cell * 3] = 4;
    const first = new EpochBook();
    first.forgive(unknown, isBeforeGuard);
    expect(first.grown(unknown)).toEqual([at('ipv4-source')]);
    expect(first.counted(unknown)).toEqual([at('ipv4-source')]);
    const second = new EpochBook(first.acked());
    expect(second.counted(unknown)).toContain(cell);
    second.forgave(isBeforeGuard);
    expect(second.counted(unknown)).toEqual([at('ipv4-source')]);
    expect(second.settled(unknown)).toBe(false);
    unknown[cell * 3] = 6;
    expect(second.counted(unknown)).toContain(cell);
  });
  it('acknowledged state of another size is a programmer’s error', () => {
    expect(() => new EpochBook(new Float64Array(CELLS - 1))).toThrow();
  });
  it('any run of growth, loss and restart - the maximum seen by a reader ends equal to the kernel’s count', () => {
    const step = fc.oneof(
      fc.record({ grow: fc.integer({ min: 0, max: 50 }) }),
      fc.constant('flush-lost' as const),
      fc.constant('flush-acked' as const),
      fc.constant('restart' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let kernel = 0;
        let reader = 0;
        let added = 0;
        let book = new EpochBook();
        const flush = (acked: boolean, delivered: boolean) => {
          const grown = book.grown(reading(kernel));
          const packets = kernel;
          for (const cell of grown) {
            book.enqueue(cell, packets);
            if (delivered) {
              reader = Math.max(reader, packets);
              added += 1;
            }
          }
          if (acked) for (const cell of grown) book.ack(cell, packets);
        };
        for (const s of steps) {
          if (s === 'flush-lost') flush(false, false);
          else if (s === 'flush-acked') flush(true, true);
          else if (s === 'restart') book = new EpochBook(book.acked());
          else kernel += s.grow;
        }
        book = new EpochBook(book.acked());
        flush(true, true);
        expect(reader).toBe(kernel);
        expect(added).toBeGreaterThanOrEqual(kernel > 0 ? 1 : 0);
      }),
    );
  });
});
