import { describe, expect, it } from 'vitest';
import type { ChainOutcome } from '../attack/chain.ts';
import type { AttackOutcome } from '../attack/run.ts';
import { EscapeReader } from './escape-lines.ts';
import { type EscapeOutcome, escapeShortfalls, escapeText, summariseEscape } from './escape-summary.ts';
import { LiveLine } from './live-line.ts';
import { progressText, shortfalls, summarise, summaryText } from './summary.ts';

const landed = { ipv4: 50, ipv6: 50, arp: 50, nd: 50 };
const control: AttackOutcome = { sent: 200, landed, landedTotal: 200, firstAtMicros: 1 };
const guarded: ChainOutcome = {
  sent: 400,
  dropped: 400,
  landed: { ipv4: 0, ipv6: 0, arp: 0, nd: 0 },
  landedTotal: 0,
  countedOnBus: 400,
  countedByVector: { 'ipv4-source': 63, 'ipv6-source': 63, 'arp-sender': 63, 'nd-target': 63 },
  legit: { sent: 90, received: 90 },
  droppedOfInnocents: 0,
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
    expect(summarise({ control, guarded, attacker: 'web-x', innocents: 5 }, { skipped: 'no machine' })).toEqual({
      control: { sent: 200, landed: 200 },
      guarded: { sent: 400, dropped: 400, landed: 0, countedOnBus: 400 },
      legit: { sent: 90, received: 90 },
      verdicts: 1,
      responses: 1,
      deletedPods: 1,
      latencyMs: { firstViolation: 8.25, verdict: 60, deleteCall: 120 },
      runtime: { skipped: 'no machine' },
    });
    expect(shortfalls(control, guarded)).toEqual([]);
  });

  it('text - landed and dropped packets, and the deleted pod', () => {
    const text = summaryText({ control, guarded, attacker: 'web-x', innocents: 5 });
    expect(text).toMatch(/without Bailiff +200 +200/);
    expect(text).toMatch(/with Bailiff +400 +0 +400 +400/);
    expect(text).toMatch(/deleted +web-x/);
    expect(text).toMatch(/5 of 5 innocent pods/);
  });

  it('text - fits a terminal of 80 columns', () => {
    const landed = { 'ipv4-source': 63, 'ipv6-source': 63, 'arp-sender': 63, 'nd-target': 63 };
    const latencyMs = { firstViolation: 123.4, verdict: 234.5, deleteCall: 345.6 };
    const many = { ...guarded, countedByVector: landed, latencyMs, legit: { sent: 1234, received: 1234 } };
    const text = summaryText({ control, guarded: many, attacker: 'web-5d4f8c7b9-4sdfq', innocents: 5 });
    const live = progressText({
      sent: 252,
      landed: 0,
      countedOnBus: 252,
      verdicts: 1,
      responses: 3,
      legit: { sent: 606, received: 606 },
    });
    expect([...text.split('\n'), `  ${live}`].filter((line) => line.length > 80)).toEqual([]);
  });

  it.each<[string, Partial<AttackOutcome>, Partial<ChainOutcome>, RegExp]>([
    ['an attack that does not land unguarded proves nothing', { landedTotal: 199 }, {}, /199 of 200 landed/],
    ['a landed packet', {}, { landedTotal: 1 }, /landed in spite/],
    ['a packet the kernel did not count', {}, { dropped: 399 }, /399 of 400/],
    ['no attached programs', {}, { dropped: null }, /dropped null/],
    ['a packet missing on the bus', {}, { countedOnBus: 399 }, /bus counts 399/],
    ['a packet the bus counts twice', {}, { countedOnBus: 401 }, /bus counts 401/],
    ['an innocent question without answer', {}, { legit: { sent: 90, received: 89 } }, /1 of 90/],
    ['no ordinary traffic', {}, { legit: { sent: 0, received: 0 } }, /no ordinary traffic/],
    ['a dropped packet of an innocent', {}, { droppedOfInnocents: 1 }, /1 packets of innocents/],
    ['an innocent pod gone', {}, { missingInnocents: ['web-y'] }, /web-y/],
    ['no deletion', {}, { deleted: false }, /still exists/],
  ])('shortfall - %s', (_, controlChange, guardedChange, message) => {
    const found = shortfalls({ ...control, ...controlChange }, { ...guarded, ...guardedChange });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });
});

const escaped: EscapeOutcome = {
  kernel: '6.12',
  attacker: 'web-x',
  control: {
    attempts: 3,
    refused: 0,
    landed: 3,
    failed: 0,
    ordinary: { tried: 1, passed: 1 },
    seenByHost: ['core_pattern', 'host-mount', 'modprobe'],
  },
  guarded: {
    attempts: 9,
    refused: 9,
    landed: 0,
    failed: 0,
    ordinary: { tried: 3, passed: 3 },
    seenByHost: [],
    blocked: 9,
    countedOnBus: 9,
    countedByRule: { 'escape-guard/core-pattern': 9 },
  },
  verdicts: [{ rule: 'escape-attempts', level: 'high', reason: 'tried, by /bin/escape (pid 7)' }],
  verdictsOnOthers: 0,
  responses: [{ action: 'delete', phase: 'succeeded' }],
  deleted: true,
  innocents: 1,
  missingInnocents: [],
};

describe('demo second act', () => {
  it('numbers - have the promised shape; without the first act its fields are null', () => {
    const runtime = {
      control: { attempts: 3, landed: 3 },
      guarded: { attempts: 9, blocked: 9, landed: 0, countedOnBus: 9 },
      verdicts: 1,
      responses: 1,
      deletedPods: 1,
    };
    expect(summariseEscape(escaped)).toEqual(runtime);
    expect(summarise(null, escaped)).toMatchObject({ control: null, guarded: null, deletedPods: null, runtime });
    expect(escapeShortfalls(escaped)).toEqual([]);
  });

  it('text - landed and blocked attempts, rule and process; or the reason for skipping', () => {
    const text = escapeText(escaped);
    expect(text).toMatch(/without policy +3 +3/);
    expect(text).toMatch(/with escape-guard +9 +0 +9 +9/);
    expect(text).toMatch(/refused by rule +core-pattern 9/);
    expect(text).toMatch(/by +\/bin\/escape \(pid 7\)/);
    expect(escapeText({ skipped: 'no qemu' })).toBe('skipped: no qemu');
    expect(escapeShortfalls({ skipped: 'no qemu' })).toEqual([]);
  });

  const { guarded: held } = escaped;
  it.each<[string, Partial<EscapeOutcome>, RegExp]>([
    [
      'an escape that the host does not see proves nothing',
      { control: { ...escaped.control, seenByHost: [] } },
      /0 of 3/,
    ],
    ['a landed escape', { guarded: { ...held, landed: 1 } }, /landed in spite/],
    ['one that only the host sees', { guarded: { ...held, seenByHost: ['modprobe'] } }, /landed in spite/],
    ['an escape that failed by itself', { guarded: { ...held, failed: 1 } }, /for another reason/],
    ['an attempt that the kernel did not count', { guarded: { ...held, blocked: 8 } }, /blocked 8 of 9/],
    ['nothing in force', { guarded: { ...held, blocked: null } }, /blocked null/],
    ['an attempt that the bus counts twice', { guarded: { ...held, countedOnBus: 10 } }, /bus counts 10/],
    ['ordinary use refused', { guarded: { ...held, ordinary: { tried: 3, passed: 2 } } }, /1 of 3 ordinary/],
    ['no verdict', { verdicts: [] }, /no verdict/],
    ['a verdict on an innocent', { verdictsOnOthers: 1 }, /innocents/],
    ['no deletion', { deleted: false }, /still exists/],
    ['an innocent pod gone', { missingInnocents: ['web-y'] }, /web-y/],
  ])('shortfall - %s', (_, change, message) => {
    const found = escapeShortfalls({ ...escaped, ...change });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it('lines - parsed from chunks, between other output', () => {
    const lines: unknown[] = [];
    const reader = new EscapeReader((line) => lines.push(line));
    for (const piece of ['noise\n@bailiff-de', 'mo {"say":"a"}\n@bailiff-demo {"live":null}', '\n']) reader.push(piece);
    expect(lines).toEqual([{ say: 'a' }, { live: null }]);
  });
});

describe('live line', () => {
  it('log - at most two changes per second, and the last one', () => {
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
