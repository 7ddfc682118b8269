import { RefusedCounts, Tally } from '@bailiff/insight';
import type { PolicyPlaces } from '@bailiff/response';
import { sampleLsmViolation } from '@bailiff/schemas/testing';
import { expect, it } from 'vitest';
import type { StoredPolicy } from '../shared/policy/stored.ts';
import type { Audited, AuditedRule } from '../shared/would-drop.ts';
import { policiesView } from './policies-view.ts';

const stored = (name: string, mode: 'audit' | 'enforce', part: object = {}) =>
  ({
    ...{
      key: `runtime.cluster._.${name}`,
      namespace: null,
      name,
      refused: '',
      stored: { revision: 2, timestampMicros: 0, by: '', why: '' },
    },
    policy: {
      ...{ mode, enabled: true, severity: 'high', selector: {}, defaultPosture: { file: 'block' } },
      rules: [
        { name: 'shells', action: 'block' },
        { name: 'seen', action: 'audit' },
      ],
      ...part,
    },
  }) as unknown as StoredPolicy;

function view(policies: readonly StoredPolicy[], rules: readonly [policy: string, vector: string][]) {
  const operations = new Tally<AuditedRule>(({ policy, vector }) => `${policy} ${vector}`);
  rules.forEach(([policy, vector], index) => {
    const violation = sampleLsmViolation({ vector, action: 'audit', counterEpoch: `boot/lsm/${index}` });
    operations.add({ policy, vector }, violation, { nodeName: 'a', sequence: index + 1 });
  });
  const packets = new Tally<Audited>(() => '');
  const audits = { packets, operations, refusals: new RefusedCounts(), cut: false };
  const places = policies.map(({ key }) => ({ key, enabled: true, inForce: 1, nodes: 1, subjects: 1, places: [] }));
  const snapshot = { stored: policies, places: places as unknown as PolicyPlaces[] };
  const options = { since: '1d', maySee: () => true, nowMs: 0, notes: [], config: [] };
  const { operations: table, operationsNotes } = policiesView(snapshot as never, audits, options);
  return { rows: table.rows.map(({ cells: [vector, , command] }) => [vector, command]), notes: operationsNotes };
}

it('recorded operations - only those that enforcing would deny are listed', () => {
  const policies = [
    stored('watched', 'audit'),
    stored('enforced', 'enforce'),
    stored('off', 'audit', { enabled: false }),
  ];
  const recorded = (name: string, rule: string): [string, string] => [`runtime.cluster._.${name}`, `${name}/${rule}`];
  const { rows, notes } = view(policies, [
    recorded('watched', 'shells'),
    recorded('watched', 'file-posture'),
    recorded('watched', 'seen'),
    recorded('enforced', 'shells'),
    recorded('off', 'shells'),
    recorded('deleted', 'shells'),
    ['', 'unresolved'],
  ]);
  expect(rows.sort()).toEqual([
    ['unresolved', ''],
    ['watched/file-posture', 'bailiff policy promote watched'],
    ['watched/shells', 'bailiff policy promote watched'],
  ]);
  expect(notes).toEqual([
    expect.stringMatching(/in mode enforce now;.*: enforced\/shells \d+\.$/),
    expect.stringMatching(/no enabled policy would deny them: .*$/),
  ]);
  for (const name of ['watched/seen', 'off/shells', 'deleted/shells']) expect(notes[1]).toContain(name);
});

it('two policies of one name - each is named with its namespace', () => {
  const key = 'runtime.namespace.shop.watched';
  const ofShop = { ...stored('watched', 'audit'), key, namespace: 'shop' } as StoredPolicy;
  const { rows } = view([stored('watched', 'enforce'), ofShop], [[key, 'watched/shells']]);
  expect(rows).toEqual([['watched/shells', 'bailiff policy promote shop/watched']]);
});
