import { type Evidence, encodeVerdict } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import { MAX_EVIDENCE } from '../windows/evidence.ts';
import { MAX_EVIDENCE_PATH_BYTES, withinPathBytes } from './verdict.ts';

/** Evidence with the processes of a pod that has paths of this length. */
const evidenceOf = (pathBytes: number): Evidence[] =>
  Array.from({ length: MAX_EVIDENCE }, (_, index) => ({
    ...{ streamSequence: index + 1, index: 0, vector: 'shop/no-shell', packets: 1 },
    process: {
      ...{ tgid: 1000 + index, uid: 0, comm: 'sh', containerName: 'app', operation: 'execute' },
      ...{ executable: `/${'x'.repeat(pathBytes - 1)}`, parentExecutable: '/bin/bash', subject: '/'.repeat(pathBytes) },
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
