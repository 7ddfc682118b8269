// What one node can take of the fold's memory, and that what another node needs is still there.
import type { Violation } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { MAX_TEXT_PER_NODE, Parking } from '../attribution/pending-violations.ts';
import { MAX_OWNERS, Members } from '../attribution/pod-inventory.ts';
import { PrecedentBook } from '../attribution/prior-refusals.ts';
import { MAX_NAMES_PER_NODE } from '../counting/node-state.ts';
import {
  bookOf,
  makeFrame,
  makeViolation,
  membersOf,
  operationSample,
  podRef,
  recordingFold,
  SECOND,
  snapshotJson,
  T0,
} from '../testing.ts';
import { OTHER } from '../windows/string-interner.ts';
import { MAX_WINDOWS_PER_NODE } from './rule-state.ts';
import { countedValue } from './rules.ts';

const own = podRef('own');
const web = podRef('web');
const lists = () => membersOf({ bad: [own], good: [web] });
const BY_POD = { type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 3 } };

/** Violations of the bad node, 64 a frame, then three packets of the honest node's pod. */
function attack(
  options: Partial<Parameters<typeof recordingFold>[0]>,
  count: number,
  violationOf: (number: number) => Partial<Violation>,
) {
  const recorded = recordingFold({ rules: bookOf({ 'by-pod': BY_POD }), members: lists(), ...options });
  for (let first = 0; first < count; first += 64) {
    const violations = Array.from({ length: Math.min(64, count - first) }, (_, i) =>
      makeViolation({ pod: own, counterEpoch: `boot/${first + i}`, lastSeenAt: T0, ...violationOf(first + i) }),
    );
    recorded.send(T0, makeFrame(violations, { nodeName: 'bad', frameSequence: first + 1 }));
  }
  const honest = { pod: web, vector: 'honest/rule', kind: 'lsm' as const, lastSeenAt: T0 + SECOND };
  const frame = makeFrame([makeViolation({ ...honest, cumulativePackets: 3, count: 3 })], { nodeName: 'good' });
  recorded.send(T0 + SECOND, frame);
  return { ...recorded, ofGood: recorded.verdicts.filter(({ nodeName }) => nodeName === 'good') };
}

describe('shares - one node cannot use up what another needs', () => {
  it('vectors - the node whose vectors find no room has them named as others; the honest node’s is named', () => {
    const { fold, ofGood, verdicts } = attack({}, 6_000, (i) => ({ vector: `made-up/${i}`, kind: 'lsm' }));
    expect(ofGood.map(({ vectors }) => vectors)).toEqual([['honest/rule']]);
    expect(fold.size.vectorsRefused).toBeGreaterThan(3_000);
    expect(verdicts.find(({ nodeName }) => nodeName === 'bad')?.vectors).toEqual([
      'made-up/0',
      'made-up/1',
      'made-up/2',
    ]);
    // Late ones are counted all the same.
    const later = attack({}, 6_000, (i) => ({ vector: `made-up/${i}`, kind: 'lsm', lastSeenAt: T0 + i }));
    expect(later.fold.counted.packets).toBe(6_003);
  });

  it('vectors - a verdict whose evidence found no room says so, and never names another vector', () => {
    const rules = bookOf({ many: { ...BY_POD, condition: { gte: 5_000 } } });
    const { verdicts } = attack({ rules }, 5_000, (i) => ({ kind: 'lsm', vector: `made-up/${i}` }));
    expect(verdicts.map(({ vectors }) => vectors)).toEqual([[OTHER]]);
  });

  it('windows - pods that no list names, accepted at a replay, take the node’s share only', () => {
    const precedents = new PrecedentBook(T0 + 10 * SECOND);
    const { fold, ofGood } = attack({ members: new Members(), precedents }, MAX_WINDOWS_PER_NODE + 500, (i) => ({
      pod: podRef(`invented-${i}`),
    }));
    expect(fold.size).toMatchObject({ windows: MAX_WINDOWS_PER_NODE + 1, windowsRefused: 500 });
    expect(ofGood).toHaveLength(1);
  });

  it('counters - names as long as they may be take the node’s share only', () => {
    const room = MAX_NAMES_PER_NODE / 512;
    const { fold, ofGood } = attack({}, room + 300, (i) => ({ counterEpoch: `${i}`.padEnd(512, '.') }));
    expect(fold.size.epochs).toBe(room + 1);
    expect(fold.counted.epochsRefused).toBe(300);
    expect(ofGood).toHaveLength(1);
  });

  it('waiting violations - texts as long as they may be take the node’s share only', () => {
    const long = operationSample({
      subject: 's'.repeat(384),
      executable: 'e'.repeat(384),
      parentExecutable: 'p'.repeat(384),
    });
    const { fold, refusals } = attack({}, 2_000, (i) => ({ pod: podRef(`new-${i}`), kind: 'lsm', operation: long }));
    expect(fold.size.parked).toBeGreaterThan(1_000);
    expect(fold.size.parked * 3 * 384).toBeLessThan(MAX_TEXT_PER_NODE);
    expect(refusals.map(({ reason }) => reason)).toContain('unproven-pod');
    const parking = new Parking();
    const standing = { is: 'foreign-pod', atMicros: T0 + SECOND, member: null, detail: '' } as const;
    const parked = (node: string, number: number) => {
      const violation = makeViolation({ kind: 'lsm', operation: long, pod: podRef(`new-${number}`) });
      return parking.park(
        { node, sequence: number, timestampMicros: T0, frameSequence: 1, index: 0, violation },
        standing,
      );
    };
    let number = 0;
    while (parked('bad', number)) number += 1;
    expect(number).toBeLessThan(2_048);
    expect(parked('good', number)).toBe(true);
    // What left makes room.
    expect(parking.release(T0 + 2 * SECOND, 1, () => standing)).toHaveLength(number + 1);
    expect(parked('bad', 0)).toBe(true);
  });

  it('owners - a pod that is given another owner again and again has its newest ones only', () => {
    const members = new Members();
    const list = (revision: number, ownerUid: string) => {
      const json = snapshotJson('bad', [{ ...own, ownerUid }], revision);
      members.apply({ node: 'bad', timestampMicros: T0 + revision, revision, previousRevision: revision - 1, json });
    };
    for (let i = 1; i <= 100; i++) list(i, `owner-${i}`);
    const [member] = members.of(own.uid);
    expect(member?.owners.size).toBe(MAX_OWNERS);
    expect([...(member?.owners.keys() ?? [])].slice(-2)).toEqual(['owner-99', 'owner-100']);
  });

  it('values - long ones are told apart, and counted once', () => {
    const value = (last: string) => {
      const operation = operationSample({ subject: `/${'v'.repeat(380)}${last}` });
      return countedValue('subject', makeViolation({ kind: 'lsm', operation }));
    };
    expect(value('a')).toBe(value('a'));
    expect(value('a')).not.toBe(value('b'));
    expect(value('a')).toHaveLength(44);
    expect(countedValue('vector', makeViolation())).toBe('ipv4-source');
  });

  it('frames - one with a field above its limit is refused and counts against its node, as a claim about another’s pod does', () => {
    const { fold, verdicts, refusals } = recordingFold({
      rules: bookOf({ nodes: { ...BY_POD, 'group-by': 'node', selection: { vectors: ['invalid-frame'] } } }),
      members: lists(),
    });
    const detail = 'ViolationFrame: Violation.vector has 900000 bytes, at most 384';
    for (let sequence = 1; sequence <= 3; sequence++)
      fold.invalid({ sequence, timestampMicros: T0, node: 'bad' }, detail);
    expect(refusals).toMatchObject(Array(3).fill({ reason: 'field-too-long', node: 'bad', indexes: [], detail }));
    expect(verdicts).toMatchObject([{ groupKey: 'bad', pod: null, vectors: ['invalid-frame'], observed: 3 }]);
  });
});

describe('precedents - each letter is about its violations', () => {
  it.each([
    ['[0,31,32,63] x', [0, 31, 32, 63], [1, 30, 33, 62]],
    ['[] x', [0, 63], []],
    ['no list', [0, 63], []],
  ])('%s', (detail, about, others) => {
    const book = new PrecedentBook(T0);
    book.add(7, 'foreign-pod', detail);
    for (const index of about) expect(book.reasonOf(7, index)).toBe('foreign-pod');
    for (const index of others) expect(book.reasonOf(7, index)).toBeUndefined();
  });
});
