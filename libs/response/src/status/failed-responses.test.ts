import type { Response } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import { FAILED_WITHIN_MS, FailureCounts } from './failed-responses.ts';

const NOW = 1_800_000_000_000_000;
const record = (action: Response['action'], phase: Response['phase'], reasonCode = '') =>
  sampleResponse({ action, phase, reasonCode, reason: `because ${reasonCode}` });

function counted(...records: readonly [Response, agoMs?: number][]) {
  const counts = new FailureCounts(NOW);
  for (const [one, agoMs = 1_000] of records) counts.add(one, NOW - agoMs * 1000);
  return counts.all.map(({ action, count, reasonCode, persists }) => [action, count, reasonCode, persists]);
}

it('the API server refuses every call - persists, until one of the same action succeeds', () => {
  const refused = record('label', 'failed', 'kube-forbidden');
  expect(counted([refused], [refused], [record('delete', 'succeeded')])).toEqual([
    ['label', 2, 'kube-forbidden', true],
  ]);
  expect(counted([refused], [record('label', 'succeeded')])).toEqual([['label', 1, 'kube-forbidden', false]]);
});

it('a reason that concerns one pod, and a capture without a reply - are reported, but do not persist', () => {
  const records = [
    record('delete', 'failed', 'not-gone'),
    record('capture', 'failed', 'no-answer'),
    record('evict', 'failed', 'disruption-budget'),
  ];
  expect(counted(...records.map((one): [Response] => [one]))).toEqual([
    ['delete', 1, 'not-gone', false],
    ['capture', 1, 'no-answer', false],
    ['evict', 1, 'disruption-budget', false],
  ]);
});

it('what an admission policy refuses - concerns the pod, whose author chooses its labels; a cordon persists', () => {
  const refused = (action: Response['action']): [Response] => [record(action, 'failed', 'kube-invalid')];
  expect(counted(refused('delete'), refused('label'), refused('cordon'))).toEqual([
    ['delete', 1, 'kube-invalid', false],
    ['label', 1, 'kube-invalid', false],
    ['cordon', 1, 'kube-invalid', true],
  ]);
  expect(counted(refused('cordon'), [record('cordon', 'succeeded')])).toEqual([['cordon', 1, 'kube-invalid', false]]);
});

it('a later failure that concerns one pod - does not hide one that persists; a success ends both', () => {
  const [refused, ofPod] = [record('evict', 'failed', 'kube-server'), record('evict', 'failed', 'disruption-budget')];
  expect(counted([refused], [ofPod])).toEqual([['evict', 2, 'kube-server', true]]);
  expect(counted([ofPod], [refused])).toEqual([['evict', 2, 'kube-server', true]]);
  expect(counted([refused], [record('evict', 'succeeded')], [ofPod])).toEqual([
    ['evict', 2, 'disruption-budget', false],
  ]);
});

it('control - older failures and other phases are not counted', () => {
  expect(counted([record('label', 'failed', 'kube-forbidden'), FAILED_WITHIN_MS + 1])).toEqual([]);
  expect(counted([record('label', 'succeeded')], [record('label', 'refused')], [record('label', 'dryrun')])).toEqual(
    [],
  );
});
