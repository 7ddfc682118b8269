import type { ConfigKey } from '@bailiff/policy';
import { expect, it } from 'vitest';
import { unendedDisarm } from './disarm.ts';

it('a node that is disarmed although its disarm has ended - is named; control: one that a stored disarm covers, and after the end', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const key = (part: Partial<ConfigKey>) => ({ key: { kind: 'disarm', namespace: null, ...part } as ConfigKey });
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
