// Rules of type temporal_ordered for a burst that reaches the bus out of order.
import type { Violation } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import {
  makeFrame,
  makeViolation,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  T0,
} from '../testing.ts';
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

/** A violation that covers a period. */
const seen = (vector: 'arp-sender' | 'ipv4-source', from: number, to = from, more: Partial<Violation> = {}) =>
  makeViolation({ pod: web, vector, firstSeenAt: from, lastSeenAt: to, ...more });
const opened = (from: number, to = from, more: Partial<Violation> = {}) => seen('arp-sender', from, to, more);
const spoofed = (from: number, to = from, more: Partial<Violation> = {}) => seen('ipv4-source', from, to, more);
/** A violation without a sample. */
const unseen = { count: 0, suppressed: 1, sample: null };

/** Processes violations, one per frame, 1 ms apart from T0 on. */
function verdictsOf(violations: readonly Violation[], more: object = {}) {
  const engine = recordingEngine({
    rules: ruleHistoryOf({ ordered: rule(more) }),
    inventory: podInventoryOf({ 'node-a': [web] }),
  });
  violations.forEach((violation, index) => {
    engine.send(T0 + index * 1000, makeFrame([violation], { frameSequence: index + 1 }));
  });
  return engine.verdicts;
}

describe('ordered rules - a burst that arrives in another order', () => {
  it('an earlier step that arrives late - completes the chain, with both as evidence', () => {
    expect(verdictsOf([spoofed(T0 - 200), opened(T0 - 900)])).toMatchObject([
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
    ['that covers a period until after the later step', [spoofed(T0 - 200), opened(T0 - 900, T0)]],
    ['without a sample, but read before', [spoofed(T0 - 200), opened(T0 - 900, T0 - 900, unseen)]],
    ['beside more packets than were sampled', [spoofed(T0 - 200, T0, { suppressed: 9 }), opened(T0 - 900)]],
    ['grouped by node', [spoofed(T0 - 200), opened(T0 - 900)], { 'group-by': 'node' }],
  ])('an earlier step %s - completes it too', (_, violations, more) => {
    expect(verdictsOf(violations, more)).toHaveLength(1);
  });

  it.each<[string, Violation[], object?]>([
    ['it happened after', [spoofed(T0 - 900), opened(T0 - 200)]],
    ['it happened at the same time', [spoofed(T0 - 900), opened(T0 - 900)]],
    ['the later one has no sample', [spoofed(T0 - 200, T0 - 200, unseen), opened(T0 - 900)]],
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
    expect(verdictsOf(violations, more)).toEqual([]);
    // The next step in stream order still completes the chain, whatever its node time.
    const next = spoofed(T0 - 901, T0 - 901, { cumulativePackets: 50 });
    expect(verdictsOf([...violations, next], more)).toHaveLength(1);
  });

  it('repeated, and further first steps after the cooldown - no second verdict', () => {
    const late = opened(T0 - 900);
    const after = opened(T0 + 500, T0 + 500, { cumulativePackets: 2 });
    expect(verdictsOf([spoofed(T0 - 200), late, late, after], { cooldown: '1s' })).toHaveLength(1);
    const next = spoofed(T0 + SECOND, T0 + SECOND, { cumulativePackets: 2 });
    const another = opened(T0 + 700, T0 + 700, { cumulativePackets: 3 });
    expect(verdictsOf([spoofed(T0 - 200), late, next, another], { cooldown: '1s' })).toHaveLength(2);
  });
});
