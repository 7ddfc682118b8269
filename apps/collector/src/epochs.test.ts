import type { Vector } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CELLS, EpochBook } from './epochs.ts';

const cell = (packets: number, vector: Vector = 'ipv4-source') => ({
  vector,
  action: 'drop' as const,
  state: 'programmed' as const,
  packets,
  skbs: packets,
  bytes: packets * 60,
});

describe('epochs', () => {
  it('what grew is reported once it is enqueued', () => {
    const book = new EpochBook();
    expect(book.grown([cell(5)])).toMatchObject([{ packets: 5, grown: 5 }]);
    book.enqueue([cell(5)]);
    expect(book.grown([cell(5)])).toEqual([]);
    expect(book.grown([cell(9)])).toMatchObject([{ packets: 9, grown: 4 }]);
  });
  it('settled only when all of it is acknowledged, in whatever order', () => {
    const book = new EpochBook();
    book.enqueue([cell(5)]);
    book.enqueue([cell(9)]);
    book.ack([cell(9)]);
    book.ack([cell(5)]);
    expect(book.settled([cell(9)])).toBe(true);
    expect(book.settled([cell(10)])).toBe(false);
  });
  it('a process that starts from what was acknowledged reports the rest', () => {
    const first = new EpochBook();
    first.enqueue([cell(5), cell(3, 'arp-sender')]);
    first.ack([cell(5)]);
    const second = new EpochBook(first.acked());
    expect(second.grown([cell(5), cell(3, 'arp-sender')])).toMatchObject([{ vector: 'arp-sender', grown: 3 }]);
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
          const grown = book.grown([cell(kernel)]);
          book.enqueue(grown);
          for (const g of grown) {
            if (delivered) {
              reader = Math.max(reader, g.packets);
              added += 1;
            }
          }
          if (acked) book.ack(grown);
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
