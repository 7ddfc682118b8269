// Rules of type temporal_ordered where the bus has a burst in another order than it happened in.
import type { Violation } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { bookOf, makeFrame, makeViolation, membersOf, podRef, recordingFold, SECOND, T0 } from '../testing.ts';
import { EVENT_TIME_BOUND_MICROS } from '../windows/time.ts';

const web = podRef('web', { ownerKind: 'Deployment', ownerName: 'web', ownerUid: 'owner-1' });
const rule = (more: object = {}) => ({
  type: 'temporal_ordered',
  level: 'critical',
  timespan: '10m',
  rules: [
    { name: 'opened', selection: { vectors: ['arp-sender'] } },
    { name: 'spoofed', selection: { vectors: ['ipv4-source'] } },
  ],
  ...more,
});

/** A violation that tells of what happened in between. */
const seen = (vector: 'arp-sender' | 'ipv4-source', from: number, to = from, more: Partial<Violation> = {}) =>
  makeViolation({ pod: web, vector, firstSeenAt: from, lastSeenAt: to, ...more });
const opened = (from: number, to = from, more: Partial<Violation> = {}) => seen('arp-sender', from, to, more);
const spoofed = (from: number, to = from, more: Partial<Violation> = {}) => seen('ipv4-source', from, to, more);
/** Counted, and no sample of it came. */
const unseen = { count: 0, suppressed: 1, sample: null };

/** Folds violations, a frame each, 1 ms apart from T0 on. */
function judge(violations: readonly Violation[], more: object = {}) {
  const fold = recordingFold({ rules: bookOf({ ordered: rule(more) }), members: membersOf({ 'node-a': [web] }) });
  violations.forEach((violation, index) => {
    fold.send(T0 + index * 1000, makeFrame([violation], { frameSequence: index + 1 }));
  });
  return fold.verdicts;
}

describe('ordered rules - a burst that the bus has turned around', () => {
  it('an earlier step that comes late by its own time - completes the order when it comes, with both as evidence', () => {
    expect(judge([spoofed(T0 - 200), opened(T0 - 900)])).toMatchObject([
      {
        observed: 2,
        triggeredAt: T0 - 200,
        vectors: ['arp-sender', 'ipv4-source'],
        evidence: [
          { streamSequence: 1, vector: 'ipv4-source' },
          { streamSequence: 2, vector: 'arp-sender' },
        ],
      },
    ]);
  });

  it.each<[string, Violation[], object?]>([
    ['of which more was told until after the later step', [spoofed(T0 - 200), opened(T0 - 900, T0)]],
    ['of which nobody saw when, but it was read before', [spoofed(T0 - 200), opened(T0 - 900, T0 - 900, unseen)]],
    ['beside more packets than were sampled', [spoofed(T0 - 200, T0, { suppressed: 9 }), opened(T0 - 900)]],
    ['grouped by node', [spoofed(T0 - 200), opened(T0 - 900)], { 'group-by': 'node' }],
  ])('an earlier step %s - completes it too', (_, violations, more) => {
    expect(judge(violations, more)).toHaveLength(1);
  });

  it.each<[string, Violation[], object?]>([
    ['it happened after', [spoofed(T0 - 900), opened(T0 - 200)]],
    ['it happened at the same time', [spoofed(T0 - 900), opened(T0 - 900)]],
    ['nobody saw when the later one happened', [spoofed(T0 - 200, T0 - 200, unseen), opened(T0 - 900)]],
    [
      'the first of the later one was before it',
      [spoofed(T0 - 900, T0 - 200, { count: 1, suppressed: 9 }), opened(T0 - 800)],
    ],
    ['its node is not believed about the time', [spoofed(T0 - 200), opened(T0 - 2 * EVENT_TIME_BOUND_MICROS)]],
    [
      'it began longer ago than a node would wait',
      [spoofed(T0 - 200), opened(T0 - 100 - EVENT_TIME_BOUND_MICROS - 1, T0 - 100)],
    ],
    ['its time runs back', [spoofed(T0 - 200), opened(T0 - 100, T0 - 900)]],
    ['it left the window', [spoofed(T0), opened(T0 - 3 * SECOND)], { timespan: '2s' }],
    ['clocks of several nodes may meet', [spoofed(T0 - 200), opened(T0 - 900)], { 'group-by': 'owner' }],
  ])('control - no order when %s', (_, violations, more) => {
    expect(judge(violations, more)).toEqual([]);
    // As ever, what comes next on the bus completes it, whatever its time says.
    const next = spoofed(T0 - 901, T0 - 901, { cumulativePackets: 50 });
    expect(judge([...violations, next], more)).toHaveLength(1);
  });

  it('the same once more, and further first steps after the cooldown - no second verdict', () => {
    const late = opened(T0 - 900);
    const after = opened(T0 + 500, T0 + 500, { cumulativePackets: 2 });
    expect(judge([spoofed(T0 - 200), late, late, after], { cooldown: '1s' })).toHaveLength(1);
    const next = spoofed(T0 + SECOND, T0 + SECOND, { cumulativePackets: 2 });
    const another = opened(T0 + 700, T0 + 700, { cumulativePackets: 3 });
    expect(judge([spoofed(T0 - 200), late, next, another], { cooldown: '1s' })).toHaveLength(2);
  });
});
