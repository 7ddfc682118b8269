import { describe, expect, it } from 'vitest';
import type { ChainOutcome } from '../attack/chain.ts';
import type { AttackOutcome } from '../attack/run.ts';
import { LiveLine } from './live-line.ts';
import { shortfalls, summarise, summaryText } from './summary.ts';

const landed = { ipv4: 50, ipv6: 50, arp: 50, nd: 50 };
const control: AttackOutcome = { sent: 200, landed, landedTotal: 200, firstAtMicros: 1 };
const guarded: ChainOutcome = {
  sent: 400,
  dropped: 400,
  landed: { ipv4: 0, ipv6: 0, arp: 0, nd: 0 },
  landedTotal: 0,
  countedOnBus: 400,
  countedByVector: { 'ipv4-source': 100, 'ipv6-source': 100, 'arp-sender': 100, 'nd-target': 100 },
  legit: { sent: 90, received: 90 },
  tally: {
    verdicts: [{ rule: 'repeated-spoofing', level: 'high' }],
    verdictsOnOthers: [],
    finished: [{ action: 'delete', phase: 'succeeded' }],
  } as unknown as ChainOutcome['tally'],
  deleted: true,
  missingInnocents: [],
  latencyMs: { firstViolation: 8.25, verdict: 60, deleteCall: 120 },
};

describe('demo summary', () => {
  it('numbers - have the promised shape', () => {
    expect(summarise(control, guarded)).toEqual({
      control: { sent: 200, landed: 200 },
      guarded: { sent: 400, dropped: 400, landed: 0, countedOnBus: 400 },
      legit: { sent: 90, received: 90 },
      verdicts: 1,
      responses: 1,
      deletedPods: 1,
      latencyMs: { firstViolation: 8.25, verdict: 60, deleteCall: 120 },
    });
    expect(shortfalls(control, guarded)).toEqual([]);
  });

  it('text - tells what landed, what was dropped and who was deleted', () => {
    const text = summaryText(control, guarded, { attacker: 'web-x', innocents: 5 });
    expect(text).toMatch(/without Bailiff +200 +200/);
    expect(text).toMatch(/with Bailiff +400 +0 +400 +400/);
    expect(text).toMatch(/deleted +web-x/);
    expect(text).toMatch(/5 of 5 innocent pods/);
  });

  it.each<[string, Partial<AttackOutcome>, Partial<ChainOutcome>, RegExp]>([
    ['an attack that does not land unguarded proves nothing', { landedTotal: 199 }, {}, /199 of 200 landed/],
    ['a landed packet', {}, { landedTotal: 1 }, /landed in spite/],
    ['a packet the kernel did not count', {}, { dropped: 399 }, /399 of 400/],
    ['nothing attached at all', {}, { dropped: null }, /dropped null/],
    ['a packet the bus does not know', {}, { countedOnBus: 399 }, /bus counts 399/],
    ['a packet the bus counts twice', {}, { countedOnBus: 401 }, /bus counts 401/],
    ['an innocent question without answer', {}, { legit: { sent: 90, received: 89 } }, /1 of 90/],
    ['no ordinary traffic', {}, { legit: { sent: 0, received: 0 } }, /no ordinary traffic/],
    ['an innocent pod gone', {}, { missingInnocents: ['web-y'] }, /web-y/],
    ['no deletion', {}, { deleted: false }, /still exists/],
  ])('shortfall - %s', (_, controlChange, guardedChange, message) => {
    const found = shortfalls({ ...control, ...controlChange }, { ...guarded, ...guardedChange });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });
});

describe('live line', () => {
  it('log - shows a change at most twice a second, and the last one', () => {
    let now = 0;
    const written: string[] = [];
    const line = new LiveLine({ write: (text) => written.push(text) }, () => now);
    line.show('a');
    line.show('b');
    now = 600;
    line.show('c');
    line.show('d');
    line.end();
    expect(written).toEqual(['  a\n', '  c\n', '  d\n']);
  });

  it('terminal - rewrites one line, no longer than the terminal', () => {
    const written: string[] = [];
    const line = new LiveLine({ isTTY: true, columns: 10, write: (text) => written.push(text) });
    line.show('0123456789');
    expect(written).toEqual(['\r\x1b[K  0123456']);
  });
});
