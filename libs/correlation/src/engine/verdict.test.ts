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
