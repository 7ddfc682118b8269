import { type Evidence, encodeVerdict } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import {
  makeFrame,
  makeViolation,
  operationSample,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  T0,
} from '../testing.ts';
import { MAX_EVIDENCE } from '../windows/evidence.ts';
import { MAX_EVIDENCE_PATH_BYTES, withinPathBytes } from './verdict.ts';

/** Evidence with the processes of a pod that has paths of this length. */
const evidenceOf = (pathBytes: number): Evidence[] =>
  Array.from({ length: MAX_EVIDENCE }, (_, index) => ({
    streamSequence: index + 1,
    index: 0,
    vector: 'shop/no-shell',
    packets: 1,
    process: {
      tgid: 1000 + index,
      uid: 0,
      comm: 'sh',
      containerName: 'app',
      operation: 'execute',
      executable: `/${'x'.repeat(pathBytes - 1)}`,
      parentExecutable: '/bin/bash',
      subject: '/'.repeat(pathBytes),
    },
  }));
const bytesOf = (evidence: Evidence[]) => encodeVerdict(sampleVerdict({ evidence })).length;

it('evidence - the paths of ordinary processes are complete', () => {
  const evidence = evidenceOf(100);
  expect(withinPathBytes(evidence)).toEqual(evidence);
});

it('evidence - a pod with long paths makes no long verdict; the newest pieces keep them, all keep their process', () => {
  const evidence = evidenceOf(256);
  const kept = withinPathBytes(evidence);
  // The control, and the limit.
  expect(bytesOf(evidence)).toBeGreaterThan(17_000);
  expect(bytesOf(kept)).toBeLessThan(MAX_EVIDENCE_PATH_BYTES + 3_000);
  const complete = kept.filter(({ process }) => process?.executable !== '');
  expect(complete).toEqual(evidence.slice(-15));
  expect(kept.map(({ process }) => process?.tgid)).toEqual(evidence.map(({ process }) => process?.tgid));
});

it('reason - words of a node and a pod cannot go on with a sentence of their own', () => {
  const lie = 'x) from pod payments/bank-0 on node-9; 3 make it critical. Restart it (';
  const path = '/tmp/a (pid 1) in container app; by node-9';
  const rules = ruleHistoryOf({
    any: { type: 'event_count', timespan: '60s', condition: { gte: 1 }, level: 'low' },
  });
  const reasonOf = (vector: string, executable: string) => {
    const { send, verdicts } = recordingEngine({ rules, inventory: podInventoryOf({ 'node-a': [podRef('web')] }) });
    const operation = operationSample({ executable });
    send(T0, makeFrame([makeViolation({ kind: 'lsm', vector, operation, sample: null })]));
    return verdicts[0]?.reason ?? '';
  };
  const reason = reasonOf(lie, path);
  expect(reason).toContain(JSON.stringify(lie));
  expect(reason).toContain(`by ${JSON.stringify(path)} (pid`);
  expect(reason.replaceAll(/"[^"]*"/g, '')).not.toMatch(/bank-0|node-9/);
  // The control: ordinary words are not quoted.
  expect(reasonOf('no-shell/shell', '/usr/bin/g++-13')).toMatch(
    /^1 packets \(no-shell\/shell\) .*; by \/usr\/bin\/g\+\+-13 \(pid/,
  );
});

it('numbers that a node chooses - no verdict about its namespace is lost, and no packet that another node counts later', () => {
  const rules = ruleHistoryOf({
    sums: {
      type: 'event_count',
      timespan: '60s',
      cooldown: '60s',
      'group-by': 'namespace',
      condition: { gte: 10 },
      level: 'high',
    },
  });
  /** A node reports a number of packets twice, then another one 200 packets, and nine or ten in the next window. */
  const verdictsWith = (packets: number) => {
    const inventory = podInventoryOf({ stolen: [podRef('a')], honest: [podRef('b')] });
    const { send, verdicts } = recordingEngine({ rules, inventory });
    let cumulativePackets = 0;
    const report = (nodeName: string, counterEpoch: string, count: number, atSeconds: number) => {
      cumulativePackets = nodeName === 'honest' ? cumulativePackets + count : count;
      const violation = makeViolation({ pod: podRef(nodeName === 'honest' ? 'b' : 'a'), counterEpoch, count });
      const lastSeenAt = T0 + atSeconds * SECOND;
      const frame = makeFrame([{ ...violation, cumulativePackets, suppressed: 0, lastSeenAt }]);
      send(lastSeenAt, { ...frame, nodeName });
    };
    report('stolen', 'first', 5, 0);
    for (const epoch of ['second', 'third']) report('stolen', epoch, packets, 0);
    cumulativePackets = 0;
    for (let i = 0; i < 200; i++) report('honest', 'own', 1, 1);
    for (let i = 0; i < 10; i++) report('honest', 'own', 1, 100 + i);
    return verdicts;
  };
  const ends = verdictsWith(2 ** 53 - 2);
  expect(ends.map((verdict) => [encodeVerdict(verdict).length > 0, verdict.observed])).toEqual([
    [true, 2 ** 53 - 2],
    [true, 10],
  ]);
  // The control: ordinary numbers.
  expect(verdictsWith(3).map(({ observed }) => observed)).toEqual([11, 10]);
});
