import type { ProjectedViolation } from '@bailiff/schemas';
import { describe, expect, test } from 'vitest';
import type { Attribution } from './attribution.ts';
import { type PendingViolation, PendingViolations } from './pending-violations.ts';

const violation = { vector: 'v', counterEpoch: 'e', severity: '', pod: null, sample: null, operation: null };
const pending = (sequence: number, index = 0): PendingViolation => ({
  node: `node-${sequence % 40}`,
  sequence,
  index,
  timestampMicros: sequence,
  streamMicros: sequence,
  frameSequence: sequence,
  violation: violation as unknown as ProjectedViolation,
});

/** Attributions by a time for each sequence, which a new version may change. */
function world(atMicros: (sequence: number) => number) {
  const waiting = new PendingViolations();
  const calls = { count: 0, atMicros };
  const attribute = ({ sequence }: PendingViolation): Attribution => {
    calls.count += 1;
    return { outcome: 'unproven-pod', atMicros: calls.atMicros(sequence), entry: null, detail: '' };
  };
  const add = (one: PendingViolation) => waiting.add(one, attribute(one));
  const release = (nowMicros: number, version = 1) =>
    waiting.release(nowMicros, version, attribute).map((one) => `${one.pending.sequence}.${one.pending.index}`);
  return { waiting, calls, attribute, add, release };
}

describe('pending violations', () => {
  test('pending - leave by time, then by place in the stream, in whatever order they came', () => {
    const { waiting, add, attribute, release } = world((sequence) => Math.floor(sequence / 10));
    for (const one of [pending(25), pending(11, 1), pending(11, 0), pending(31), pending(10), pending(22)]) add(one);
    expect(waiting.nextMicros(1, attribute)).toBe(1);
    expect(release(0)).toEqual([]);
    expect(release(2)).toEqual(['10.0', '11.0', '11.1', '22.0', '25.0']);
    expect([waiting.size, waiting.nextMicros(1, attribute)]).toEqual([1, 3]);
    expect(release(3)).toEqual(['31.0']);
    expect(waiting.nextMicros(1, attribute)).toBeNull();
  });

  test('pending - a new version of the inventory changes when they leave', () => {
    const { calls, add, release } = world((sequence) => sequence + 100);
    for (let sequence = 0; sequence < 5; sequence += 1) add(pending(sequence));
    expect(release(99)).toEqual([]);
    calls.atMicros = (sequence) => (sequence === 3 ? 3 : 200);
    expect(release(99)).toEqual([]);
    expect(release(99, 2)).toEqual(['3.0']);
    expect(release(200, 2)).toEqual(['0.0', '1.0', '2.0', '4.0']);
  });

  test.each([5_000, 10_000])('pending - %i that leave one by one cost one attribution each, and one a version', (n) => {
    const { waiting, calls, attribute, add } = world((sequence) => sequence + 10);
    for (let sequence = 0; sequence < n; sequence += 1) expect(add(pending(sequence))).toBe(true);
    calls.count = 0;
    let released = 0;
    for (let next = waiting.nextMicros(1, attribute); next !== null; next = waiting.nextMicros(1, attribute))
      released += waiting.release(next, 1, attribute).length;
    expect([released, calls.count]).toEqual([n, n]);
    expect(waiting.size).toBe(0);
  });
});
