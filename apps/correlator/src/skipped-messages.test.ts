import { describe, expect, it } from 'vitest';
import { OTHER, SkippedMessages } from './skipped-messages.ts';

const MINUTE = 60_000;

describe('skipped messages', () => {
  it('a node is named until ten minutes after its last one, and reported again when it returns', () => {
    let nowMs = 0;
    const first: string[] = [];
    const skipped = new SkippedMessages(
      () => nowMs,
      (node, reason) => first.push(`${node} ${reason}`),
    );
    skipped.add('a', 'not-a-frame');
    nowMs += 5 * MINUTE;
    skipped.add('b', 'not-a-frame');
    skipped.add('a', 'over-share');
    expect(skipped.status()).toEqual([
      { node: 'a', messages: 2, reason: 'over-share', since: '1970-01-01T00:00:00.000Z' },
      { node: 'b', messages: 1, reason: 'not-a-frame', since: '1970-01-01T00:05:00.000Z' },
    ]);
    expect(skipped.totals).toEqual({ messages: 3, nodes: 2 });
    nowMs += 11 * MINUTE;
    expect(skipped.status()).toEqual([]);
    skipped.add('a', 'not-a-frame');
    expect(skipped.status()).toMatchObject([{ node: 'a', messages: 1, since: '1970-01-01T00:16:00.000Z' }]);
    expect(skipped.totals).toEqual({ messages: 4, nodes: 1 });
    expect(first).toEqual(['a not-a-frame', 'b not-a-frame', 'a not-a-frame']);
  });

  it('nodes beyond the limit count together, and a known node keeps its own count', () => {
    const skipped = new SkippedMessages(
      () => 0,
      () => undefined,
    );
    for (let node = 0; node < 1_100; node += 1) skipped.add(`n${node}`, 'x');
    expect(skipped.totals).toEqual({ messages: 1_100, nodes: 1_001 });
    expect(skipped.status()).toHaveLength(16);
    expect(skipped.status()[0]).toMatchObject({ node: OTHER, messages: 100 });
    skipped.add('n0', 'x');
    expect(skipped.status()[0]).toMatchObject({ node: 'n0', messages: 2 });
  });
});
