import type { ConfigKey } from '@bailiff/policy';
import { expect, it } from 'vitest';
import { silentNodes, unendedByNodes } from './disarm.ts';

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
  const untilMs = nowMs + 3_600_000;
  const node = (name: string, disarmedUntil: string | null) => [name, { disarmedUntil }] as const;
  const held = [node('node-a', '2026-11-24T13:00:00Z'), node('node-b', null), node('node-c', 'soon')];
  const named = { scope: 'node-a', untilMs, by: '', reason: expect.stringMatching(/has ended$/) };
  const others = [
    { scope: 'node node-b', untilMs },
    { scope: 'namespace shop', untilMs },
  ];
  expect(unendedByNodes(others, held, nowMs)).toEqual([named]);
  expect(unendedByNodes([{ scope: 'node node-a', untilMs }], held, nowMs)).toEqual([]);
  expect(unendedByNodes([{ scope: 'the whole cluster', untilMs }], held, nowMs)).toEqual([]);
  // A newer one that ends earlier does not explain it.
  expect(unendedByNodes([{ scope: 'node node-a', untilMs: untilMs - 60_000 }], held, nowMs)).toEqual([named]);
  expect(unendedByNodes([], held, nowMs + 3_600_000)).toEqual([]);
  const many = ['a', 'b', 'c', 'd', 'e'].map((name) => node(name, '2026-11-24T13:00:00Z'));
  expect(unendedByNodes([], many, nowMs)[0]?.scope).toMatch(/^a, b, c and 2 more$/);
});

it('namespaces that nodes have disarmed although no disarm is stored - are named; control: stored for them, the node or all', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const until = (ms: number) => new Date(nowMs + ms).toISOString();
  const node = (name: string, ...namespaces: string[]) => {
    const disarmedNamespaces = namespaces.map((namespace) => ({ namespace, disarmedUntil: until(600_000) }));
    return [name, { disarmedUntil: null, disarmedNamespaces }] as const;
  };
  const older = ['node-o', { disarmedUntil: null }] as const;
  const nodes = [node('node-a', 'shop'), node('node-b', 'shop'), node('node-c', 'bank', 'shop', 'x\ny'), older];
  const scopes = (...stored: string[]) =>
    unendedByNodes(
      stored.map((scope) => ({ scope, untilMs: nowMs + 600_000 })),
      nodes,
      nowMs,
    ).map(({ scope }) => scope);
  expect(scopes()).toEqual(['namespace shop on node-a, node-b', 'namespaces bank, shop and 1 more on node-c']);
  expect(scopes('namespace shop')).toEqual(['namespaces bank, "x y" on node-c']);
  expect(scopes('node node-c')).toEqual(['namespace shop on node-a, node-b']);
  expect(scopes('the whole cluster')).toEqual([]);
  expect(unendedByNodes([], nodes, nowMs + 600_000)).toEqual([]);
});
