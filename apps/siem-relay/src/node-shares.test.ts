import { samplePlace } from '@bailiff/siem/testing';
import { describe, expect, it } from 'vitest';
import { EVENT_BYTES, NodeShares } from './node-shares.ts';
import { INTERVAL_MICROS, MAX_MESSAGES, Omissions } from './omissions.ts';

const LIMITS = { burst: 100, perSecond: 10, perSecondBehind: 1, decodedBurst: 9_999, decodedPerSecond: 1_000 };
const SECOND = 1_000_000;
const of = (uid: string) => ({ pod: { uid } }) as Parameters<NodeShares['has']>[1];

/** Events out of `most` violations that a pod gets at a time. */
function take(shares: NodeShares, node: string, pod: string, atMicros: number, most = 1_000, bytes = EVENT_BYTES) {
  let events = 0;
  for (; events < most && shares.has(node, of(pod), atMicros); events += 1) shares.charge(node, of(pod), bytes);
  return events;
}

describe('shares of nodes and pods', () => {
  it('a pod takes at most half of what its node has left, another node is not affected', () => {
    const shares = new NodeShares(LIMITS);
    expect(take(shares, 'a', 'flood', 0)).toBe(50);
    expect(take(shares, 'a', 'quiet', 0, 10)).toBe(10);
    expect(take(shares, 'a', 'flood', 0)).toBe(0);
    expect(take(shares, 'b', 'quiet', 0, 40)).toBe(40);
  });

  it('tokens come back with the time of the bus, and a pod has its share again after a minute', () => {
    const shares = new NodeShares(LIMITS);
    take(shares, 'a', 'flood', 0);
    expect(take(shares, 'a', 'flood', SECOND)).toBe(5);
    expect(take(shares, 'a', 'quiet', SECOND, 20)).toBe(20);
    expect(take(shares, 'a', 'flood', 61 * SECOND)).toBe(50);
    // The clock of the bus steps back: no tokens, but no error either.
    expect(take(shares, 'a', 'flood', 0)).toBe(0);
  });

  it('tokens come back also after the clock of the bus was a day ahead and is set back', () => {
    const shares = new NodeShares(LIMITS);
    const frame = { bytes: 8_000, violations: 0 };
    take(shares, 'a', 'flood', 86_400 * SECOND);
    shares.decodes('a', frame, 86_400 * SECOND);
    shares.decodes('a', frame, 86_400 * SECOND);
    expect(take(shares, 'a', 'flood', 0)).toBe(0);
    expect(shares.decodes('a', frame, 0)).toBe(false);
    expect(take(shares, 'a', 'flood', 61 * SECOND)).toBe(50);
    expect(shares.decodes('a', frame, 61 * SECOND)).toBe(true);
  });

  it('while readers are behind, tokens come back more slowly', () => {
    const shares = new NodeShares(LIMITS);
    for (const pod of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) take(shares, 'n', pod, 0);
    shares.isBehind = true;
    expect(take(shares, 'n', 'next', 10 * SECOND)).toBeLessThanOrEqual(6);
  });

  it('a large event costs as much as several small ones', () => {
    const shares = new NodeShares(LIMITS);
    expect(take(shares, 'a', 'flood', 0, 1_000, 10 * EVENT_BYTES)).toBe(5);
  });
});

describe('frames that are decoded', () => {
  const frame = { bytes: 3_464, violations: 1 };

  it('a node has a share of them by bytes, messages and violations, also if none of its violations gets an event', () => {
    const shares = new NodeShares(LIMITS);
    expect([1, 2, 3].map(() => shares.decodes('a', frame, 0))).toEqual([true, true, false]);
    expect(shares.decodes('b', frame, 0)).toBe(true);
    expect(take(shares, 'a', 'quiet', 0, 10)).toBe(10);
    expect(shares.decodes('a', frame, SECOND)).toBe(true);
    expect(shares.decodes('a', frame, SECOND)).toBe(false);
  });

  it('small messages cost as well', () => {
    const shares = new NodeShares(LIMITS);
    const taken = Array.from({ length: 20 }, () => shares.decodes('a', { bytes: 0, violations: 0 }, 0));
    expect(taken.filter(Boolean)).toHaveLength(10);
  });
});

describe('omissions', () => {
  const at = (sequence: number, storedMicros: number, node = 'n') => ({
    ...samplePlace('VIOLATIONS', sequence),
    storedMicros,
    node,
  });

  it('are due after an interval, with the messages and violations of a node', () => {
    const omissions = new Omissions();
    const completed: number[] = [];
    omissions.add(at(7, 0), 3, () => completed.push(7));
    omissions.add(at(9, SECOND), 2, () => completed.push(9));
    omissions.add(at(8, INTERVAL_MICROS, 'other'), 1, () => completed.push(8));
    expect(omissions.take(INTERVAL_MICROS - 1)).toEqual([]);
    const [due, ...none] = omissions.take(INTERVAL_MICROS);
    expect(none).toEqual([]);
    expect(due).toMatchObject({ node: 'n', events: 5, lastSequence: 9, untilMicros: SECOND });
    expect(due?.place).toMatchObject({ sequence: 7, storedMicros: 0 });
    for (const done of due?.done ?? []) done();
    expect(completed).toEqual([7, 9]);
    expect(omissions.take().map(({ node }) => node)).toEqual(['other']);
    expect(omissions.take()).toEqual([]);
  });

  it('after a clock that was ahead is set back - are due', () => {
    const omissions = new Omissions();
    omissions.add(at(1, 3_600 * SECOND), 1, () => undefined);
    expect(omissions.take(SECOND)).toHaveLength(1);
  });

  it('are due at a number of messages', () => {
    const omissions = new Omissions();
    for (let n = 1; n < MAX_MESSAGES; n += 1) omissions.add(at(n, 0), 1, () => {});
    expect(omissions.take(0)).toEqual([]);
    omissions.add(at(MAX_MESSAGES, 0), 1, () => {});
    expect(omissions.take(0)).toHaveLength(1);
  });
});
