import type { Response } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import { REFUSED_WITHIN_MS, RefusalCounts } from './refused-responses.ts';

const NOW = 1_800_000_000_000_000;
type Row = [
  verdictId: string,
  action: Response['action'],
  phase: Response['phase'],
  reasonCode?: string,
  agoMs?: number,
];

function counted(...rows: readonly Row[]) {
  const counts = new RefusalCounts(NOW);
  for (const [verdictId, action, phase, reasonCode = '', agoMs = 60_000] of rows)
    counts.add(sampleResponse({ verdictId, action, phase, reasonCode, reason: 'why' }), NOW - agoMs * 1000);
  return counts.all.map(({ reasonCode, count }) => [reasonCode, count]);
}

it('a removal and the quarantine that replaces it are refused - nothing was done', () => {
  const labelled: Row = ['a', 'label', 'succeeded'];
  expect(
    counted(labelled, ['a', 'delete', 'refused', 'below-min-healthy'], ['a', 'quarantine', 'refused', 'host-network']),
  ).toEqual([['host-network', 1]]);
  expect(
    counted(['a', 'quarantine', 'refused', 'budget-exhausted'], ['b', 'delete', 'refused', 'budget-exhausted']),
  ).toEqual([['budget-exhausted', 2]]);
});

it('the removal that follows a quarantine which would block nothing is refused too - nothing was done', () => {
  expect(counted(['a', 'quarantine', 'refused', 'host-network'], ['a', 'delete', 'refused', 'delete-storm'])).toEqual([
    ['host-network', 1],
  ]);
});

it.each<[string, Row[]]>([
  [
    'a removal replaced the quarantine',
    [
      ['a', 'quarantine', 'refused', 'host-network'],
      ['a', 'delete', 'succeeded'],
    ],
  ],
  [
    'a quarantine replaced the removal',
    [
      ['a', 'delete', 'refused', 'budget-exhausted'],
      ['a', 'quarantine', 'succeeded'],
    ],
  ],
  [
    'it is under way',
    [
      ['a', 'delete', 'refused', 'budget-exhausted'],
      ['a', 'quarantine', 'started'],
    ],
  ],
  [
    'another policy acted before',
    [
      ['a', 'delete', 'succeeded'],
      ['a', 'quarantine', 'refused', 'backlog-full'],
    ],
  ],
  [
    'a dry run',
    [
      ['a', 'delete', 'dryrun', 'dry-run'],
      ['a', 'quarantine', 'refused', 'host-network'],
    ],
  ],
  ['an administrator protects the namespace', [['a', 'delete', 'refused', 'protected-namespace']]],
  ['a label alone', [['a', 'label', 'refused', 'uid-changed']]],
  ['a replacement may still come', [['a', 'delete', 'refused', 'budget-exhausted', 5_000]]],
  ['more than an hour ago', [['a', 'delete', 'refused', 'budget-exhausted', REFUSED_WITHIN_MS + 1]]],
])('control: %s - is not counted', (_, rows) => {
  expect(counted(...rows)).toEqual([]);
});
