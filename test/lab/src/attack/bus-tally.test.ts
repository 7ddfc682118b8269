import type { Response, Verdict, Violation, ViolationFrame } from '@bailiff/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BusTally } from './bus-tally.ts';

const violation = (counterEpoch: string, cumulativePackets: number, uid = 'bad'): Violation =>
  ({ kind: 'spoof', vector: counterEpoch, counterEpoch, cumulativePackets, pod: { uid } }) as Violation;
const frame = (...violations: Violation[]) => ({ violations }) as ViolationFrame;

describe('bus tally', () => {
  it('packets - equal counts for repeated, late or lost frames, except the last of an epoch', () => {
    const step = fc.record({ epoch: fc.constantFrom('a', 'b', 'c'), packets: fc.integer({ min: 1, max: 1000 }) });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.array(fc.nat(39), { maxLength: 20 }),
        (steps, repeats) => {
          const sent = [...steps, ...repeats.map((index) => steps[index % steps.length]!)];
          const tally = new BusTally('bad');
          for (const { epoch, packets } of sent) tally.takeFrame(frame(violation(epoch, packets)), 1);
          const highest = (epoch: string) =>
            Math.max(0, ...steps.filter((s) => s.epoch === epoch).map((s) => s.packets));
          expect(tally.totalPackets).toBe(highest('a') + highest('b') + highest('c'));
        },
      ),
    );
  });

  it('packets - those of other pods and of unbound interfaces are not counted', () => {
    const tally = new BusTally('bad');
    tally.takeFrame(frame(violation('a', 5, 'other'), { ...violation('b', 7), pod: null }), 10);
    expect(tally.totalPackets).toBe(0);
    expect(tally.firstViolationAtMicros).toBeNull();
    tally.takeFrame(frame(violation('a', 5)), 20);
    tally.takeFrame(frame(violation('a', 9)), 30);
    expect(tally.packets).toEqual({ a: 9 });
    expect(tally.firstViolationAtMicros).toBe(20);
  });

  it('verdicts - one about an innocent pod is separate', () => {
    const tally = new BusTally('bad');
    tally.takeVerdict({ pod: { uid: 'other' } } as Verdict, 5);
    tally.takeVerdict({ pod: { uid: 'bad' } } as Verdict, 6);
    expect([tally.verdicts.length, tally.verdictsOnOthers.length, tally.firstVerdictAtMicros]).toEqual([1, 1, 6]);
  });

  it('responses - only those with a terminal phase are finished', () => {
    const tally = new BusTally('bad');
    for (const phase of ['started', 'succeeded', 'refused'] as const)
      tally.takeResponse({ podUid: 'bad', phase } as Response);
    tally.takeResponse({ podUid: 'other', phase: 'succeeded' } as Response);
    expect(tally.finished.map((response) => response.phase)).toEqual(['succeeded', 'refused']);
  });

  it('responses - a verdict is answered when each action of one verdict has a terminal phase', () => {
    const tally = new BusTally('bad');
    for (const verdictId of ['first', 'second']) tally.takeVerdict({ verdictId, pod: { uid: 'bad' } } as Verdict, 1);
    const answered = (verdictId: string, action: Response['action'], phase: Response['phase']) => {
      tally.takeResponse({ podUid: 'bad', verdictId, action, phase } as Response);
      return tally.isAnswered(['label', 'delete']);
    };
    expect(answered('first', 'delete', 'succeeded')).toBe(false);
    expect(answered('second', 'label', 'succeeded')).toBe(false);
    expect(answered('first', 'label', 'started')).toBe(false);
    expect(answered('first', 'label', 'refused')).toBe(true);
  });

  it('responses - a verdict whose delete is refused is no answer while that of another is under way', () => {
    const tally = new BusTally('bad');
    for (const verdictId of ['first', 'second']) tally.takeVerdict({ verdictId, pod: { uid: 'bad' } } as Verdict, 1);
    const answered = (verdictId: string, phase: Response['phase']) => {
      tally.takeResponse({ podUid: 'bad', verdictId, action: 'delete', phase } as Response);
      return tally.isAnswered(['delete']);
    };
    expect(answered('first', 'started')).toBe(false);
    expect(answered('second', 'refused')).toBe(false);
    expect(answered('first', 'succeeded')).toBe(true);
  });
});
