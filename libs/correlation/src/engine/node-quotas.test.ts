// Memory quotas of a node: an attacking node reaches its bound, another node is not affected.
import type { Violation } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { MAX_TEXT_PER_NODE, PendingViolations } from '../attribution/pending-violations.ts';
import { MAX_OWNERS, PodInventory } from '../attribution/pod-inventory.ts';
import { PriorRefusals } from '../attribution/prior-refusals.ts';
import { MAX_NAMES_PER_NODE } from '../counting/node-state.ts';
import {
  FrameShares,
  LETTERS_AT_ONCE,
  MESSAGE_BYTES,
  REFUSAL_BYTES,
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
} from '../shares/frame-shares.ts';
import {
  makeFrame,
  makeViolation,
  operationSample,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  snapshotJson,
  T0,
} from '../testing.ts';
import { countedValue } from '../windows/compiled-rule.ts';
import { OTHER } from '../windows/string-interner.ts';
import { MAX_WINDOWS_PER_NODE } from './rule-state.ts';

/** Of libs/bus (topology), which is above this library. */
const DEAD_LETTERS_MAX_MESSAGES = 50_000;
const own = podRef('own');
const web = podRef('web');
const lists = () => podInventoryOf({ bad: [own], good: [web] });
const BY_POD = { type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 3 } };

/** Violations of the bad node, 64 a frame, then three packets of the honest node's pod. */
function attack(
  options: Partial<Parameters<typeof recordingEngine>[0]>,
  count: number,
  violationOf: (number: number) => Partial<Violation>,
) {
  const recorded = recordingEngine({ rules: ruleHistoryOf({ 'by-pod': BY_POD }), inventory: lists(), ...options });
  for (let first = 0; first < count; first += 64) {
    const violations = Array.from({ length: Math.min(64, count - first) }, (_, i) =>
      makeViolation({ pod: own, counterEpoch: `boot/${first + i}`, lastSeenAt: T0, ...violationOf(first + i) }),
    );
    recorded.send(T0, makeFrame(violations, { nodeName: 'bad', frameSequence: first + 1 }));
  }
  const honest = { pod: web, vector: 'honest/rule', kind: 'lsm' as const, lastSeenAt: T0 + SECOND };
  const frame = makeFrame([makeViolation({ ...honest, cumulativePackets: 3, count: 3 })], { nodeName: 'good' });
  recorded.send(T0 + SECOND, frame);
  return { ...recorded, forGood: recorded.verdicts.filter(({ nodeName }) => nodeName === 'good') };
}

describe('node quotas - one node cannot use up the memory of another', () => {
  it('messages - beyond the share of a node they are skipped, and the share refills with the time of the bus', () => {
    const { engine } = recordingEngine({ rules: ruleHistoryOf({}), inventory: lists() });
    const position = (node: string, seconds: number) => ({ node, sequence: 1, timestampMicros: T0 + seconds * SECOND });
    const taken = (node: string, seconds: number, bytes: number) => {
      let count = 0;
      while (engine.hasShare(position(node, seconds), bytes)) count++;
      return count;
    };
    const bytes = 25_000;
    const atOnce = Math.ceil(SHARE_BURST_BYTES / (bytes + MESSAGE_BYTES));
    expect(taken('bad', 0, bytes)).toBe(atOnce);
    expect(engine.hasShare(position('good', 0), bytes)).toBe(true);
    expect(taken('bad', 10, bytes)).toBeCloseTo((10 * SHARE_BYTES_PER_SECOND) / (bytes + MESSAGE_BYTES), -1);
    // The clock of the bus is set back, and an hour passes.
    expect(taken('bad', 5, bytes)).toBe(0);
    expect(taken('bad', 3_600, bytes)).toBe(atOnce);
    // It was a day ahead, and is set back: nothing refills at once, and the share refills from then on.
    expect(taken('bad', 86_400, bytes)).toBe(atOnce);
    expect(taken('bad', 3_610, bytes)).toBe(0);
    expect(taken('bad', 7_200, bytes)).toBe(atOnce);
    // Small ones have a cost too.
    expect(taken('small', 0, 10)).toBe(Math.ceil(SHARE_BURST_BYTES / (10 + MESSAGE_BYTES)));
  });

  it('dead letters - what becomes one costs more: refused reports, unreadable messages', () => {
    const { engine, send, refusals } = recordingEngine({ rules: ruleHistoryOf({}), inventory: lists() });
    const place = (node: string, timestampMicros = T0) => ({ node, sequence: 1, timestampMicros });
    const most = SHARE_BURST_BYTES / REFUSAL_BYTES;
    let unreadable = 0;
    for (; engine.hasShare(place('bad'), 10); unreadable++) engine.chargeUnreadable('bad');
    expect(unreadable).toBeLessThanOrEqual(most);
    // A debt of any size is paid back in the time of 16 letters.
    for (let index = 0; index < 10_000; index++) engine.chargeUnreadable('bad');
    const paid = T0 + 161 * SECOND;
    expect(engine.hasShare(place('bad', paid), 10)).toBe(true);
    const foreign = makeFrame([makeViolation()], { nodeName: 'another' });
    while (engine.hasShare(place('good'), 10)) send(T0, foreign, { node: 'good' });
    expect(refusals.length).toBeGreaterThan(0);
    expect(refusals.length).toBeLessThanOrEqual(most);
  });

  it('dead letters - a node causes a quarter of those that the stream holds in a day', () => {
    const HOURS = 24;
    /** A refused message in each second, which the share of bytes allows. */
    const lettersOf = (shares: FrameShares, isUnproven = false) => {
      let letters = 0;
      for (let second = 0; second < HOURS * 3_600; second++)
        if (shares.take('bad', T0 + second * SECOND, 1_000) && shares.refuse('bad', isUnproven)) letters++;
      return letters;
    };
    const shares = new FrameShares();
    const most = DEAD_LETTERS_MAX_MESSAGES / 4;
    expect(lettersOf(shares)).toBeGreaterThan(most * 0.9);
    for (const isUnproven of [false, true])
      expect(lettersOf(new FrameShares(), isUnproven)).toBeLessThanOrEqual(most + HOURS * 12);
    expect(lettersOf(new FrameShares(Number.POSITIVE_INFINITY)), 'control').toBeGreaterThan(DEAD_LETTERS_MAX_MESSAGES);
    // A neighbour has its own.
    expect(shares.take('good', T0 + HOURS * 3_600 * SECOND, 1_000)).toBe(true);
  });

  it('dead letters - those about a pod that no list names leave the other pods of its node their verdicts', () => {
    const SECONDS = 1_800;
    const TIMES = 12;
    const fresh = podRef('fresh');
    /** @returns verdicts about a listed pod that sends three packets once a minute, and letters */
    const judged = (isOfPod: boolean) => {
      const rules = ruleHistoryOf({ 'by-pod': { ...BY_POD, cooldown: '60s' } });
      const { engine, send, refusals, verdicts } = recordingEngine({ rules, inventory: podInventoryOf({ n: [own] }) });
      let sequence = 0;
      const offer = (timestampMicros: number, violation: Partial<Violation>, nodeName = 'n') => {
        const place = { node: 'n', sequence: ++sequence, timestampMicros };
        const frame = makeFrame([makeViolation(violation)], { nodeName, frameSequence: sequence });
        if (engine.hasShare(place, 700)) send(timestampMicros, frame, place);
      };
      for (let number = 0; number < SECONDS * TIMES; number++) {
        const at = T0 + Math.floor((number * SECOND) / TIMES);
        const counts = { cumulativePackets: number + 1, count: 1, lastSeenAt: at };
        offer(at, { pod: fresh, counterEpoch: 'f/1', ...counts }, isOfPod ? 'n' : 'another');
        if (number % (60 * TIMES) !== 30 * TIMES) continue;
        offer(at, { pod: own, counterEpoch: `o/${number}`, cumulativePackets: 3, count: 3, lastSeenAt: at });
      }
      return { verdicts: verdicts.length, letters: refusals.filter(({ hasLetter }) => hasLetter).length };
    };
    const { verdicts, letters } = judged(true);
    expect(verdicts).toBe(SECONDS / 60);
    expect(letters).toBeGreaterThan(1_000);
    expect(letters).toBeLessThanOrEqual(LETTERS_AT_ONCE + SECONDS / 10);
    // Control: frames that no pod can cause use up the share of their node.
    expect(judged(false).verdicts).toBeLessThan(SECONDS / 60 / 2);
  });

  it('vectors - beyond the quota evidence names (other); another node’s vector keeps its name', () => {
    const { engine, forGood, verdicts } = attack({}, 6_000, (i) => ({ vector: `made-up/${i}`, kind: 'lsm' }));
    expect(forGood.map(({ vectors }) => vectors)).toEqual([['honest/rule']]);
    expect(engine.size.vectorsRefused).toBeGreaterThan(3_000);
    expect(verdicts.find(({ nodeName }) => nodeName === 'bad')?.vectors).toEqual([
      'made-up/0',
      'made-up/1',
      'made-up/2',
    ]);
    // Their violations still count.
    const later = attack({}, 6_000, (i) => ({ vector: `made-up/${i}`, kind: 'lsm', lastSeenAt: T0 + i }));
    expect(later.engine.counted.packets).toBe(6_003);
  });

  it('vectors - evidence beyond the quota names (other), never another vector', () => {
    const rules = ruleHistoryOf({ many: { ...BY_POD, condition: { gte: 5_000 } } });
    const { verdicts } = attack({ rules }, 5_000, (i) => ({ kind: 'lsm', vector: `made-up/${i}` }));
    expect(verdicts.map(({ vectors }) => vectors)).toEqual([[OTHER]]);
  });

  it('windows - unlisted pods of a replay use only the node’s quota', () => {
    const priorRefusals = new PriorRefusals(T0 + 10 * SECOND);
    const { engine, forGood } = attack(
      { inventory: new PodInventory(), priorRefusals },
      MAX_WINDOWS_PER_NODE + 500,
      (i) => ({
        pod: { ...podRef(`invented-${i}`), namespace: `invented-${i}` },
      }),
    );
    expect(engine.size).toMatchObject({ windows: MAX_WINDOWS_PER_NODE + 1, windowsRefused: 500 });
    expect(forGood).toHaveLength(1);
  });

  it('windows - pods of one namespace leave room for the neighbours on their node', () => {
    const priorRefusals = new PriorRefusals(T0 + 10 * SECOND);
    const options = { inventory: new PodInventory(), priorRefusals };
    const pod = (i: number) => ({ pod: podRef(`tenant-${i}`) });
    const { engine, send, verdicts } = attack(options, MAX_WINDOWS_PER_NODE + 500, pod);
    expect(engine.size.windowsRefused).toBe(MAX_WINDOWS_PER_NODE / 2 + 500);
    const neighbour = { pod: podRef('neighbour', { namespace: 'shop' }), lastSeenAt: T0 + SECOND, count: 3 };
    const violation = makeViolation({ ...neighbour, cumulativePackets: 3, counterEpoch: 'boot/neighbour' });
    send(T0 + SECOND, makeFrame([violation], { nodeName: 'bad', frameSequence: 1_000 }));
    expect(verdicts.map((verdict) => verdict.pod?.name)).toContain('neighbour');
  });

  it('counters - epochs of maximum length use only the node’s quota', () => {
    const room = MAX_NAMES_PER_NODE / 512;
    const { engine, forGood } = attack({}, room + 300, (i) => ({ counterEpoch: `${i}`.padEnd(512, '.') }));
    expect(engine.size.counters).toBe(room + 1);
    expect(engine.counted.countersRefused).toBe(300);
    expect(forGood).toHaveLength(1);
  });

  it('pending violations - texts of maximum length use only the node’s quota', () => {
    const long = operationSample({
      subject: 's'.repeat(384),
      executable: 'e'.repeat(384),
      parentExecutable: 'p'.repeat(384),
    });
    const { engine, refusals } = attack({}, 2_000, (i) => ({ pod: podRef(`new-${i}`), kind: 'lsm', operation: long }));
    expect(engine.size.pending).toBeGreaterThan(500);
    expect(engine.size.pending * 3 * 384).toBeLessThan(MAX_TEXT_PER_NODE);
    expect(refusals.map(({ reason }) => reason)).toContain('unproven-pod');
    const pendingViolations = new PendingViolations();
    const attribution = { outcome: 'foreign-pod', atMicros: T0 + SECOND, entry: null, detail: '' } as const;
    const parked = (node: string, number: number, namespace = 'tenant') => {
      const violation = makeViolation({ kind: 'lsm', operation: long, pod: podRef(`new-${number}`, { namespace }) });
      return pendingViolations.add(
        { node, sequence: number, timestampMicros: T0, streamMicros: T0, frameSequence: 1, index: 0, violation },
        attribution,
      );
    };
    let number = 0;
    while (parked('bad', number)) number += 1;
    expect(number).toBeLessThan(2_048);
    expect(parked('good', number)).toBe(true);
    // Neither can a namespace use up that of its neighbours on the node.
    expect(parked('bad', number, 'shop')).toBe(true);
    // Released violations free their share.
    expect(pendingViolations.release(T0 + 2 * SECOND, 1, () => attribution)).toHaveLength(number + 2);
    expect(parked('bad', 0)).toBe(true);
  });

  it('owners - a pod whose owner changes repeatedly keeps only the newest', () => {
    const inventory = new PodInventory();
    const list = (revision: number, ownerUid: string) => {
      const json = snapshotJson('bad', [{ ...own, ownerUid }], revision);
      inventory.apply({ node: 'bad', timestampMicros: T0 + revision, revision, previousRevision: revision - 1, json });
    };
    for (let i = 1; i <= 100; i++) list(i, `owner-${i}`);
    const [entry] = inventory.entriesOf(own.uid);
    expect(entry?.owners.size).toBe(MAX_OWNERS);
    expect([...(entry?.owners.keys() ?? [])].slice(-2)).toEqual(['owner-99', 'owner-100']);
  });

  it('values - long values are distinguished and counted once', () => {
    const value = (last: string) => {
      const operation = operationSample({ subject: `/${'v'.repeat(380)}${last}` });
      return countedValue('subject', makeViolation({ kind: 'lsm', operation }));
    };
    expect(value('a')).toBe(value('a'));
    expect(value('a')).not.toBe(value('b'));
    expect(value('a')).toHaveLength(44);
    expect(countedValue('vector', makeViolation())).toBe('ipv4-source');
  });

  it('frames - one with a field above its limit is refused and counts against its node', () => {
    const { engine, verdicts, refusals } = recordingEngine({
      rules: ruleHistoryOf({ nodes: { ...BY_POD, 'group-by': 'node', selection: { vectors: ['invalid-frame'] } } }),
      inventory: lists(),
    });
    const detail = 'ViolationFrame: Violation.vector has 900000 bytes, at most 384';
    for (let sequence = 1; sequence <= 3; sequence++)
      engine.rejectFrame({ sequence, timestampMicros: T0, node: 'bad' }, detail);
    expect(refusals).toMatchObject(Array(3).fill({ reason: 'field-too-long', node: 'bad', indexes: [], detail }));
    expect(verdicts).toMatchObject([{ groupKey: 'bad', pod: null, vectors: ['invalid-frame'], observed: 3 }]);
  });
});

describe('prior refusals - a letter covers its violations', () => {
  it.each([
    ['[0,31,32,63] x', [0, 31, 32, 63], [1, 30, 33, 62]],
    ['[] x', [0, 63], []],
    ['no list', [0, 63], []],
  ])('%s', (detail, about, others) => {
    const refusals = new PriorRefusals(T0);
    refusals.add({ node: 'bad', sequence: 7, reason: 'foreign-pod', detail, writtenMicros: 0 });
    const place = (index: number) => ({ node: 'bad', sequence: 7, index, timestampMicros: T0 });
    for (const index of about) expect(refusals.reasonOf(place(index))).toBe('foreign-pod');
    for (const index of others) expect(refusals.reasonOf(place(index))).toBeUndefined();
  });
});
