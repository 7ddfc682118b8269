import { COUNTER_NUMBERS, type Vector } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesOf,
  CELL_NAMES,
  CELLS,
  cellOf,
  droppedFromPod,
  EpochLedger,
  isBeforeGuard,
  packetsOf,
  skbsOf,
} from './cells.ts';

const at = (vector: Vector) => cellOf({ vector, action: 'drop', state: 'programmed' });
const SPOOF = at('ipv4-source');

/** Reading of the kernel with these packets. */
function reading(packets: number, more: Partial<Record<Vector, number>> = {}): Float64Array {
  const counters = new Float64Array(COUNTER_NUMBERS);
  for (const [vector, count] of Object.entries({ 'ipv4-source': packets, ...more }))
    counters.set([count, count, count * 60], at(vector as Vector) * 3);
  return counters;
}

describe('epochs', () => {
  it('frames dropped from the pod - answers from addresses of other interfaces are among them, received ones are not', () => {
    expect(droppedFromPod(reading(3, { 'other-interface': 4, provocation: 5, 'guard-bypass': 6 }))).toBe(7);
  });

  it('cells - names follow the layout of the kernel', () => {
    expect(CELL_NAMES[cellOf({ vector: 'malformed', action: 'drop', state: 'provisional' })]).toEqual({
      vector: 'malformed',
      action: 'drop',
      state: 'provisional',
    });
    expect(cellOf({ vector: 'malformed', action: 'drop', state: 'provisional' })).toBe((9 * 2 + 1) * 3 + 1);
    expect(new Set(CELL_NAMES.map(cellOf)).size).toBe(CELL_NAMES.length);
  });
  it('growth - reported until it is enqueued', () => {
    const ledger = new EpochLedger();
    expect(ledger.grown(reading(5))).toEqual([SPOOF]);
    ledger.enqueue(SPOOF, 5);
    expect(ledger.grown(reading(5))).toEqual([]);
    expect(ledger.grown(reading(9))).toEqual([SPOOF]);
    expect(ledger.enqueued(SPOOF)).toBe(5);
    expect([packetsOf, skbsOf, bytesOf].map((of) => of(reading(9), SPOOF))).toEqual([9, 9, 540]);
  });
  it('settled - only when everything is acknowledged, in any order', () => {
    const ledger = new EpochLedger();
    ledger.enqueue(SPOOF, 5);
    ledger.enqueue(SPOOF, 9);
    expect(ledger.settled(reading(0))).toBe(true);
    expect(ledger.settled(reading(5))).toBe(false);
    ledger.ack(SPOOF, 9);
    ledger.ack(SPOOF, 5);
    expect(ledger.settled(reading(9))).toBe(true);
    expect(ledger.settled(reading(10))).toBe(false);
  });
  it('excluded cells - neither growth nor unacknowledged; the others are', () => {
    const ledger = new EpochLedger();
    const counters = reading(5, { 'arp-sender': 3 });
    ledger.exclude(counters, ({ vector }) => vector === 'arp-sender');
    expect(ledger.grown(counters)).toEqual([SPOOF]);
    ledger.ack(SPOOF, 5);
    expect(ledger.settled(counters)).toBe(true);
  });
  it('restart - continues from the acknowledged counts', () => {
    const first = new EpochLedger();
    first.enqueue(SPOOF, 5);
    first.enqueue(at('arp-sender'), 3);
    first.ack(SPOOF, 5);
    const second = new EpochLedger(first.acked());
    expect(second.grown(reading(5, { 'arp-sender': 3 }))).toEqual([at('arp-sender')]);
  });
  it('final count - without excluded cells, also after a restart; with published cells and later growth', () => {
    const unknown = reading(5);
    const cell = cellOf({ vector: 'unknown-interface', action: 'audit', state: 'unknown' });
    unknown[cell * 3] = 4;
    const first = new EpochLedger();
    first.exclude(unknown, isBeforeGuard);
    expect(first.grown(unknown)).toEqual([at('ipv4-source')]);
    expect(first.counted(unknown)).toEqual([at('ipv4-source')]);
    const second = new EpochLedger(first.acked());
    expect(second.counted(unknown)).toContain(cell);
    second.restoreExcluded(isBeforeGuard);
    expect(second.counted(unknown)).toEqual([at('ipv4-source')]);
    expect(second.settled(unknown)).toBe(false);
    unknown[cell * 3] = 6;
    expect(second.counted(unknown)).toContain(cell);
  });
  it('acknowledged counts of another size - an assertion', () => {
    expect(() => new EpochLedger(new Float64Array(CELLS - 1))).toThrow();
  });
  it('any run of growth, loss and restart - the maximum that a reader saw equals the count of the kernel', () => {
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
        let ledger = new EpochLedger();
        const flush = (acked: boolean, delivered: boolean) => {
          const grown = ledger.grown(reading(kernel));
          const packets = kernel;
          for (const cell of grown) {
            ledger.enqueue(cell, packets);
            if (delivered) {
              reader = Math.max(reader, packets);
              added += 1;
            }
          }
          if (acked) for (const cell of grown) ledger.ack(cell, packets);
        };
        for (const s of steps) {
          if (s === 'flush-lost') flush(false, false);
          else if (s === 'flush-acked') flush(true, true);
          else if (s === 'restart') ledger = new EpochLedger(ledger.acked());
          else kernel += s.grow;
        }
        ledger = new EpochLedger(ledger.acked());
        flush(true, true);
        expect(reader).toBe(kernel);
        expect(added).toBeGreaterThanOrEqual(kernel > 0 ? 1 : 0);
      }),
    );
  });
});
