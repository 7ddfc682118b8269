import type { Violation } from '@bailiff/schemas';
import { sampleLsmViolation, sampleOperation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { OperationRecord, timesOf } from './record.ts';

const POD = { ...sampleLsmViolation().pod!, uid: 'p', name: 'web-0' };
let epochs = 0;
function violation(subject: string | null, times: number, part: Partial<Violation> = {}): Violation {
  epochs += 1;
  return sampleLsmViolation({
    pod: POD,
    vector: 'p/rule',
    action: 'audit',
    generation: 1,
    counterEpoch: `boot/lsm/${epochs}`,
    count: subject === null ? 0 : times,
    suppressed: subject === null ? times : 0,
    cumulativePackets: times,
    operation: subject === null ? null : sampleOperation({ operation: 'read', subject }),
    ...part,
  });
}
function recordOf(...all: Violation[]): OperationRecord {
  const record = new OperationRecord();
  for (const one of all) record.add('n', one);
  return record;
}
const times = (...all: Violation[]) => {
  const [seen] = recordOf(...all).operations;
  return seen ? timesOf(seen) : null;
};
const POSTURE = { vector: 'q/file-posture' };

describe('recorded operations', () => {
  it('counted for a rule and a posture of one policy set - once', () => {
    expect(times(violation('/a', 5), violation('/a', 5, POSTURE))).toEqual({ passed: 5, denied: 0 });
    // The control: two policy sets.
    expect(times(violation('/a', 5), violation('/a', 5, { ...POSTURE, generation: 2 }))).toEqual({
      passed: 10,
      denied: 0,
    });
  });

  it('denied, and counted for a rule in audit too - denied alone', () => {
    const denied = violation('/a', 3, { action: 'drop', vector: 'r/deny' });
    expect(times(violation('/a', 3), denied)).toEqual({ passed: 0, denied: 3 });
    expect(times(violation('/a', 4, POSTURE), denied)).toEqual({ passed: 4, denied: 3 });
  });

  it('the same frame again - adds nothing', () => {
    const one = violation('/a', 5);
    expect(times(one, one)).toEqual({ passed: 5, denied: 0 });
  });

  it('operations without a sample - by what counted them', () => {
    const record = recordOf(violation(null, 7), violation(null, 2, POSTURE), violation(null, 1, { action: 'drop' }));
    expect(record.operations).toEqual([]);
    expect(
      record.unsampled.map(({ vector, posture, denied, operations }) => [vector, posture, denied, operations]),
    ).toEqual([
      ['p/rule', null, false, 7],
      ['q/file-posture', 'file', false, 2],
      ['p/rule', null, true, 1],
    ]);
  });

  it('bounds - a node that floods the record gets half of it, another node is recorded, and the rest is counted', () => {
    const record = new OperationRecord({ operations: 100, cells: 100 });
    for (let index = 0; index < 1_000; index += 1) {
      record.add('flood', violation(`/f${index}`, 1));
      record.add('flood', violation(null, 1, { vector: `p/r${index}` }));
    }
    for (let index = 0; index < 20; index += 1) record.add('quiet', violation(`/q${index}`, 1));
    const of = (node: string) => record.operations.filter(({ nodeName }) => nodeName === node).length;
    expect(of('flood')).toBeLessThanOrEqual(51);
    expect(of('quiet')).toBe(20);
    expect(record.omitted).toBe(2_000 - of('flood') - record.unsampled.length);
  });
});
