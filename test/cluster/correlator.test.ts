// The correlator on a real bus: frames in as collectors publish them, verdicts and dead letters
// out.

import { encodeToken, getMessage, openBucket, violationSubject } from '@bailiff/bus';
import { POD_GRACE_MICROS, SETTLE_MICROS } from '@bailiff/correlation';
import { makeFrame, makeViolation, podRef } from '@bailiff/correlation/testing';
import { BUILT_IN_RULES } from '@bailiff/policy';
import { encodeVerdict, encodeViolationFrame } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const at = () => Date.now() * 1000;
const web = podRef('web');
const far = podRef('far');

describe('correlator - judging', () => {
  let rig: CorrelatorRig;
  beforeAll(async () => {
    rig = await CorrelatorRig.start();
    await rig.list(NODE_A, [web, podRef('a1'), podRef('a2'), podRef('a3')]);
    await rig.list(NODE_B, [far]);
    await rig.correlator();
    await rig.settle();
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  it('repeated attempts - the default rule gives one verdict, at the frame that crosses it', async () => {
    await rig.spoof(NODE_A, web, 9);
    const sequence = await rig.spoof(NODE_A, web, 1);
    await rig.verdictCount(1);
    const [verdict] = rig.verdicts;
    expect(verdict).toMatchObject({
      rule: 'repeated-spoofing',
      level: 'high',
      groupKey: web.uid,
      observed: 10,
      threshold: 10,
      configRevision: 0,
      nodeName: NODE_A,
      pod: { uid: web.uid, name: 'web' },
      evidence: [
        { streamSequence: sequence - 1, packets: 9 },
        { streamSequence: sequence, packets: 1 },
      ],
    });
    // Further packets of the same epoch give no new verdict.
    await rig.spoof(NODE_A, web, 100);
    await rig.spoof(NODE_B, far, 10);
    await rig.verdictCount(2);
    expect(rig.verdicts.map(({ groupKey }) => groupKey)).toEqual([web.uid, far.uid]);
  });

  it('false report - another node’s pod: dead letter, a verdict on the node, none on the pod', async () => {
    const before = rig.verdicts.length;
    const pod = podRef('far');
    const frame = makeFrame([makeViolation({ pod, cumulativePackets: 500, count: 500, lastSeenAt: at() })]);
    const sequence = await rig.frame(frame);
    await rig.verdictCount(before + 1);
    expect(rig.verdicts.slice(before)).toMatchObject([
      { rule: 'foreign-pod-claims', level: 'critical', groupBy: 'node', groupKey: NODE_A, pod: null },
    ]);
    await waitFor(() => rig.deadLetters.length > 0);
    expect(rig.deadLetters).toMatchObject([{ reason: 'foreign-pod', sequence, data: encodeViolationFrame(frame) }]);
    expect(rig.deadLetters[0]?.detail).toBe(`[0] pod ${pod.uid} is on ${NODE_B}, not on ${NODE_A}`);
  });

  it('false report - another node’s name: dead letter', async () => {
    const frame = makeFrame([makeViolation({ pod: far, lastSeenAt: at() })], { nodeName: NODE_B });
    const sequence = await rig.frame(frame, NODE_A);
    const letter = await waitFor(() => rig.deadLetters.find((one) => one.sequence === sequence));
    expect(letter).toMatchObject({ reason: 'foreign-node' });
  });

  it('false report - a collector cannot even write to another node’s subject', async () => {
    const frame = encodeViolationFrame(makeFrame([makeViolation({ pod: far })], { nodeName: NODE_B }));
    const bus = await rig.bus(`collector-${NODE_A}`);
    const before = (await rig.admin.jsm.streams.info('VIOLATIONS')).state.last_seq;
    await expect(bus.js.publish(violationSubject(NODE_B, 'spoof'), frame, { timeout: 1_000 })).rejects.toThrow();
    expect((await rig.admin.jsm.streams.info('VIOLATIONS')).state.last_seq).toBe(before);
  });

  const good = encodeViolationFrame(makeFrame([makeViolation({ pod: web })]));
  const unknown = Buffer.from(good);
  unknown.writeBigUInt64LE(0x1234567890abcdefn, 2);
  it.each([
    ['empty', Buffer.alloc(0), 'planted'],
    ['rubbish', Buffer.from('rubbish that is long enough'), 'not-single-object'],
    ['unknown fingerprint', unknown, 'unknown-fingerprint'],
    ['truncated', good.subarray(0, good.length - 5), 'truncated'],
    ['trailing bytes', Buffer.concat([good, Buffer.from([0])]), 'trailing-bytes'],
    ['negative count', encodeViolationFrame(makeFrame([makeViolation({ pod: web, count: -1 })])), 'invalid-violation'],
    [
      'pod name with a wildcard',
      encodeViolationFrame(makeFrame([makeViolation({ pod: podRef('>') })])),
      'invalid-violation',
    ],
  ])('bad payload - %s: dead letter with the reason, and later frames are judged', async (_, data, reason) => {
    const sequence = await rig.publish(NODE_A, data);
    const letter = await waitFor(() => rig.deadLetters.find((one) => one.sequence === sequence));
    expect(letter.reason).toBe(reason);
    // An empty letter would look like a message that no client stored.
    expect(letter.data.equals(data.length > 0 ? data : Buffer.alloc(1))).toBe(true);
  });

  it('bad payload - another message of Bailiff: dead letter wrong-schema', async () => {
    const { sequence: _, storedMicros: __, ...verdict } = rig.verdicts[0]!;
    const sequence = await rig.publish(NODE_A, encodeVerdict(verdict));
    const letter = await waitFor(() => rig.deadLetters.find((one) => one.sequence === sequence));
    expect(letter.reason).toBe('wrong-schema');
  });

  it('not yet listed - judged when the list arrives, without another frame', async () => {
    const before = rig.verdicts.length;
    const young = podRef('young');
    await rig.spoof(NODE_A, young, 20);
    await rig.list(NODE_A, [web, podRef('a1'), podRef('a2'), podRef('a3'), young]);
    await rig.verdictCount(before + 1);
    expect(rig.verdicts[before]).toMatchObject({ groupKey: young.uid, observed: 20 });
    const { storedMicros, triggeredAt } = rig.verdicts[before]!;
    expect(storedMicros - triggeredAt).toBeGreaterThan(900_000);
    // Not at the end of the grace period.
    expect(storedMicros - triggeredAt).toBeLessThan(POD_GRACE_MICROS);
  });

  it('never listed - refused after the grace period, without another frame', async () => {
    const sequence = await rig.spoof(NODE_A, podRef('ghost'), 20);
    const letter = await waitFor(() => rig.deadLetters.find((one) => one.sequence === sequence));
    expect(letter).toMatchObject({ reason: 'unproven-pod', detail: expect.stringContaining('no list names pod') });
  });
});

describe('correlator - configuration', () => {
  it('live - a new rule is in force a second later; a bad one keeps the last good one in force and is reported', async () => {
    await using rig = await CorrelatorRig.start();
    await rig.list(NODE_A, [web, podRef('a1'), podRef('a2')]);
    const correlator = await rig.correlator();
    const rule = (gte: number) => ({ type: 'event_count', level: 'low', timespan: '60s', condition: { gte } });
    const ruledAt = await rig.rule('three', rule(3));
    const rules = Object.keys(BUILT_IN_RULES).length + 1;
    await waitFor(() => correlator.metric('rules').then((inForce) => inForce === rules));
    const soon = await rig.spoof(NODE_A, web, 3);
    await waitFor(() => correlator.metric('frames_total').then((frames) => frames === soon));
    await rig.settle();
    await rig.spoof(NODE_A, podRef('a1'), 3);
    // If the machine paused for a second in between, it was in force by then.
    const soonAt = (await getMessage(rig.admin, 'VIOLATIONS', soon))?.timestampMicros ?? 0;
    const judged = soonAt - ruledAt < SETTLE_MICROS ? ['uid-of-a1'] : [web.uid, 'uid-of-a1'];
    await rig.verdictCount(judged.length);
    expect(rig.verdicts).toMatchObject(judged.map((groupKey) => ({ rule: 'three', configRevision: 1, groupKey })));

    await rig.rule('three', { ...rule(1), timespan: '60' });
    await waitFor(() => correlator.metric('rule_problems').then((problems) => problems === 1));
    expect(correlator.log().find(({ msg }) => msg === 'a rule is refused')).toMatchObject({
      key: 'correlation.cluster._.three',
      fields: ['timespan'],
      inForce: 'last-good',
    });
    await rig.settle();
    await rig.spoof(NODE_A, podRef('a2'), 2);
    await rig.spoof(NODE_A, podRef('a2'), 1);
    await rig.verdictCount(judged.length + 1);
    expect(rig.verdicts.at(-1)).toMatchObject({ rule: 'three', observed: 3, groupKey: 'uid-of-a2' });
    expect(await correlator.stop()).toBe(0);
  });
});

describe('correlator - starts and replicas', () => {
  it('three replicas, one killed bus, starts in between: each verdict once, none missing', async () => {
    await using rig = await CorrelatorRig.start();
    const pods = Array.from({ length: 12 }, (_, i) => podRef(`pod-${i}`));
    await rig.list(NODE_A, pods);
    const first = await rig.correlator();
    await rig.correlator();
    for (const pod of pods.slice(0, 4)) await rig.spoof(NODE_A, pod, 10);
    await rig.verdictCount(4);
    expect(await first.stop()).toBe(0);
    for (const pod of pods.slice(4, 8)) await rig.spoof(NODE_A, pod, 6);
    await rig.nats.restart();
    const third = await rig.correlator();
    for (const pod of pods.slice(4, 12)) await rig.spoof(NODE_A, pod, 10);
    await rig.verdictCount(12);
    await waitFor(() => third.metric('pending_frames').then((pending) => pending === 0));
    const groups = rig.verdicts.map(({ groupKey }) => groupKey).sort();
    expect(groups).toEqual(pods.map(({ uid }) => uid).sort());
  });

  it('a list that is stored compressed - its pods are attributed as those of a plain one', async () => {
    await using rig = await CorrelatorRig.start();
    const pods = Array.from({ length: 2_000 }, (_, i) => podRef(`pod-${i}`));
    await rig.list(NODE_A, pods);
    expect((await openBucket(rig.admin, 'bailiff_pods').get(encodeToken(NODE_A)))?.value[0]).not.toBe(0x7b);
    const correlator = await rig.correlator();
    await rig.spoof(NODE_A, pods[1_999]!, 10);
    await rig.verdictCount(1);
    expect(rig.verdicts[0]).toMatchObject({ groupKey: pods[1_999]!.uid });
    expect(await correlator.stop()).toBe(0);
  });

  it('no correlator ran - the next start publishes the verdicts of that time, none twice', async () => {
    await using rig = await CorrelatorRig.start();
    const pods = ['a', 'b', 'c'].map((name) => podRef(name));
    await rig.list(NODE_A, pods);
    await rig.spoof(NODE_A, pods[0]!, 10);
    const first = await rig.correlator();
    await rig.verdictCount(1);
    await first.stop();
    await rig.spoof(NODE_A, pods[1]!, 10);
    const second = await rig.correlator();
    await rig.verdictCount(2);
    await second.stop();
    const third = await rig.correlator();
    await rig.spoof(NODE_A, pods[2]!, 10);
    await rig.verdictCount(3);
    expect(rig.verdicts.map(({ groupKey }) => groupKey)).toEqual(pods.map(({ uid }) => uid));
    expect(await third.metric('duplicate_violations_total')).toBe(0);
  });

  it('replay - a refusal stays a refusal when the lists have changed since', async () => {
    await using rig = await CorrelatorRig.start();
    await rig.list(NODE_A, [web]);
    await rig.list(NODE_B, [far]);
    const first = await rig.correlator();
    await rig.frame(makeFrame([makeViolation({ pod: far, cumulativePackets: 99, count: 99, lastSeenAt: at() })]));
    await rig.spoof(NODE_A, web, 9);
    await waitFor(() => rig.deadLetters.length === 1);
    await rig.verdictCount(1);
    await first.stop();
    // Both pods are removed, and no list contains them any more.
    await rig.list(NODE_A, []);
    await rig.list(NODE_B, []);
    const second = await rig.correlator();
    await rig.spoof(NODE_A, web, 1);
    await waitFor(() => second.metric('frames_total').then((frames) => frames >= 3), { state: second.log });
    // The accepted pod continues to count from nine; the false report is still one.
    await rig.verdictCount(1);
    expect(rig.verdicts.map(({ rule }) => rule)).toEqual(['foreign-pod-claims']);
    expect(await second.metric('packets_total')).toBe(9);
  });

  it('no topology - reported, with the exit code of an unavailable dependency', async () => {
    await using rig = await CorrelatorRig.start();
    await rig.admin.jsm.streams.update('VERDICTS', { max_age: 3_600_000_000_000 });
    const correlator = await rig.correlator({ wait: false });
    const line = await waitFor(() => correlator.log().find(({ msg }) => msg === 'failed'));
    expect(JSON.stringify(line)).toContain('BUS_HORIZON');
    expect(await correlator.stop()).not.toBe(0);
  });

  it('lists - an unreadable one is refused, and the last good one stays in force', async () => {
    await using rig = await CorrelatorRig.start();
    await rig.list(NODE_A, [web]);
    const correlator = await rig.correlator();
    await openBucket(rig.admin, 'bailiff_pods').put(encodeToken(NODE_A), '{"nodeName":');
    await waitFor(() => correlator.metric('snapshots_refused_total').then((count) => count === 1));
    await rig.spoof(NODE_A, web, 10);
    await rig.verdictCount(1);
  });
});
