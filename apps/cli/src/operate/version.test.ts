import type { InstanceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { partsOf, skewOf } from './version.ts';

it.each([
  ['1.2.3', '1.2.9', false],
  ['1.2.3', 'v1.2.0', false],
  ['1.2.3', '1.3.0', true],
  ['0.1.0', '0.2.0', true],
  ['1.2.3', 'unknown', true],
])('client %s, part %s: %s', (client, version, differs) => {
  expect(skewOf(client, [{ part: 'correlator', version, instances: 2 }])).toHaveLength(differs ? 1 : 0);
});

it('parts - what runs, also if its status cannot be read, and no stopped instance or former node', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const at = (agoMs: number) => new Date(nowMs - agoMs).toISOString();
  const instance = (version: string, part: object = {}) =>
    ({ service: 'correlator', version, updatedAt: at(5_000), ...part }) as InstanceStatus;
  const node = (collectorVersion: string, agoMs: number) => ({
    collectorVersion,
    updatedAt: at(agoMs),
    configRefused: [],
  });
  const instances = [
    instance('2.0.0'),
    instance('1.0.0', { stoppedAt: at(5_000) }),
    instance('1.1.0', { updatedAt: at(600_000) }),
  ];
  const nodes = new Map<string, ReturnType<typeof node> | string>([
    ['unread', 'bus: expected object'],
    ['node-a', node('2.0.0', 5_000)],
    ['node-b', node('1.0.0', 600_000)],
    ['former', node('0.9.0', 600_000)],
  ]);
  const parts = partsOf(instances, { nodes, expected: ['node-a', 'node-b', 'unread'], nowMs, staleMs: 30_000 });
  expect(parts.map(({ part, version }) => `${part} ${version}`).sort()).toEqual([
    'collector 1.0.0',
    'collector 2.0.0',
    'collector unreadable',
    'correlator 2.0.0',
  ]);
});
