import type { ConfigKey } from '@bailiff/policy';
import { expect, it } from 'vitest';
import { silentNodes, unendedDisarm } from './disarm.ts';

const key = (part: Partial<ConfigKey>) => ({ key: { kind: 'disarm', namespace: null, ...part } as ConfigKey });

it('a silent node within the scope - is named; control: one that reports, and one beyond the scope', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const status = (ageMs: number) => ({ updatedAt: new Date(nowMs - ageMs).toISOString() });
  const nodes = [['node-a', status(31_000)] as const, ['node-b', status(29_000)] as const];
  const named = (part: Partial<ConfigKey>) => silentNodes([key(part)], nodes, nowMs).map(([node]) => node);
  expect(named({ scope: 'cluster', name: 'all' })).toEqual(['node-a']);
  expect(named({ scope: 'namespace', namespace: 'shop', name: 'all' })).toEqual(['node-a']);
  expect(named({ scope: 'node', name: 'node-a' })).toEqual(['node-a']);
  expect(named({ scope: 'node', name: 'node-b' })).toEqual([]);
  expect(silentNodes([], nodes, nowMs)).toEqual([]);
});

it('a node that is disarmed although its disarm has ended - is named; control: one that a stored disarm covers, and after the end', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const node = (name: string, disarmedUntil: string | null) => [name, { disarmedUntil }] as const;
  const held = [node('node-a', '2026-11-24T13:00:00Z'), node('node-b', null), node('node-c', 'soon')];
  const named = { scope: 'node-a', untilMs: nowMs + 3_600_000, by: '', reason: expect.stringMatching(/has ended$/) };
  const others = [key({ scope: 'node', name: 'node-b' }), key({ scope: 'namespace', namespace: 'shop', name: 'all' })];
  expect(unendedDisarm(others, held, nowMs)).toEqual(named);
  expect(unendedDisarm([key({ scope: 'node', name: 'node-a' })], held, nowMs)).toBeNull();
  expect(unendedDisarm([key({ scope: 'cluster', name: 'all' })], held, nowMs)).toBeNull();
  expect(unendedDisarm([], held, nowMs + 3_600_000)).toBeNull();
  const many = ['a', 'b', 'c', 'd', 'e'].map((name) => node(name, '2026-11-24T13:00:00Z'));
  expect(unendedDisarm([], many, nowMs)?.scope).toMatch(/^a, b, c and 2 more$/);
});
