// A stored value that all of its readers refuse, and everything that must not be taken for one.
import { type InstanceStatus, type NodeStatus, OMITTED_KEYS } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { isAcceptedByReaders, nodeRefusalProblems, refusalOfReaders } from './refused-by-readers.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const DISARM = 'disarm.cluster._.all';
const refusing = (key: string) => [{ key, reason: 'the value is not signed' }];
const node = (key: string | null, agoMs = 5_000) =>
  ({
    updatedAt: new Date(NOW - agoMs).toISOString(),
    configRefused: key === null ? [] : refusing(key),
  }) as unknown as NodeStatus;
const correlator = (key: string | null, instance: string) =>
  ({
    ...{ service: 'correlator', instance, version: '1', startedAt: '', configRevision: 1 },
    updatedAt: new Date(NOW - 5_000).toISOString(),
    configRefused: key === null ? [] : refusing(key),
  }) as InstanceStatus;
const storedMs = NOW - 20_000;
const refusal = (
  key: string,
  nodes: Record<string, NodeStatus | string>,
  instances: InstanceStatus[] = [],
  atMs = storedMs,
) =>
  refusalOfReaders(
    { key, storedMs: atMs },
    { nodes: new Map(Object.entries(nodes)), instances, nowMs: NOW, staleMs: 60_000 },
  );

it('a value that every node refuses - is refused; a silent node does not count', () => {
  expect(refusal(DISARM, { a: node(DISARM), b: node(DISARM) })).toBe('"the value is not signed"');
  expect(refusal(DISARM, { a: node(DISARM), gone: node(null, 3_600_000) })).toBe('"the value is not signed"');
});

it.each<[string, Record<string, NodeStatus | string>, number]>([
  ['one node accepts it', { a: node(DISARM), b: node(null) }, storedMs],
  ['a node cannot be read', { a: node(DISARM), b: 'not JSON' }, storedMs],
  ['nodes refused an earlier value', { a: node(DISARM) }, NOW - 4_000],
  ['no node reports', {}, storedMs],
  ['nodes refuse another key', { a: node('disarm.namespace.shop.all') }, storedMs],
])('%s - it counts as in force', (_, nodes, atMs) => {
  expect(refusal(DISARM, nodes, [], atMs)).toBe('');
});

it('the words of a node - end with the quotation', () => {
  const key = 'disarm.node._.a';
  const configRefused = [{ key, reason: 'x" → run:\ncurl y' }];
  const words = { ...node(null), configRefused } as NodeStatus;
  expect(refusal(key, { a: words })).toBe(`"x' → run: curl y"`);
});

it('a disarm of a node - is read by that node alone', () => {
  const key = 'disarm.node._.a';
  expect(refusal(key, { a: node(key), b: node(null) })).toBe('"the value is not signed"');
  expect(refusal(key, { a: node(null), b: node(key) })).toBe('');
});

it('rules - are read by correlators, not by nodes', () => {
  const key = 'correlation.cluster._.mine';
  const nodes = { a: node(null) };
  expect(refusal(key, nodes, [correlator(key, 'a'), correlator(key, 'b')])).toBe('"the value is not signed"');
  expect(refusal(key, nodes, [correlator(key, 'a'), correlator(null, 'b')])).toBe('');
});

const POLICY = 'runtime.cluster._.escape-guard';
it.each<[string, Record<string, NodeStatus | string>, string, RegExp]>([
  ['another node applies it', { b: node(null) }, POLICY, /^others accept this value/],
  ['every node refuses it', { b: node(POLICY) }, POLICY, /^bailiff config get .*; bailiff config rollback /],
  ['it is the only node', {}, POLICY, /^bailiff config get .*; bailiff config rollback /],
  ['the others are silent or cannot be read', { b: node(null, 3_600_000), c: 'not JSON' }, POLICY, /rollback runtime/],
  [
    'others do not read the key',
    { b: node(null) },
    'disarm.node._.a',
    /^bailiff config get .*; bailiff config rollback /,
  ],
  ['it is no key', { b: node(null) }, 'x; reboot', /^bailiff config list$/],
])('what a node refuses: %s - the remedy changes no value that others apply', (_, others, key, remedy) => {
  const own = node(key);
  const readers = { nodes: new Map(Object.entries({ a: own, ...others })), nowMs: NOW, staleMs: 60_000 };
  const problems = nodeRefusalProblems('a', own as NodeStatus, readers);
  expect(problems).toEqual([expect.objectContaining({ exitCode: 6, remedy: expect.stringMatching(remedy) })]);
});

const SPOOF = 'spoof.cluster._.default';
it.each<[boolean, string, string, Record<string, NodeStatus | string>, InstanceStatus[]]>([
  [true, 'every node that has read it', SPOOF, { a: node(null, 1_000), b: node(null, 1_000), c: 'not JSON' }, []],
  [false, 'all nodes but one', SPOOF, { a: node(null, 1_000), b: node(SPOOF, 1_000) }, []],
  [false, 'nodes that refuse more keys than they name', SPOOF, { a: node(OMITTED_KEYS, 1_000) }, []],
  [false, 'no node, as their statuses are older', SPOOF, { a: node(null, 6_000) }, []],
  [false, 'nobody', SPOOF, {}, [correlator(null, 'one')]],
  [true, 'the correlator', 'correlation.cluster._.mine', { a: node(null, 1_000) }, [correlator(null, 'one')]],
  [false, 'readers of a kind that is not known', 'newer.cluster._.x', { a: node(null, 1_000) }, []],
])('%s - accepted by %s', (accepted, _, key, nodes, instances) => {
  const readers = { nodes: new Map(Object.entries(nodes)), instances, nowMs: NOW, staleMs: 60_000 };
  expect(isAcceptedByReaders({ key, json: '{}', storedMs: key === SPOOF ? NOW - 20_000 : NOW - 25_000 }, readers)).toBe(
    accepted,
  );
});

it('a runtime policy - is accepted where that revision is in force, and not by nodes that enforce none', () => {
  const key = 'runtime.cluster._.mine';
  const accepted = (revision: number, state: string) => {
    const runtime = { policies: [{ key, revision, state, reason: '', subjects: 1 }] };
    const nodes = new Map([['a', { ...node(null, 1_000), runtime } as unknown as NodeStatus]]);
    const readers = { nodes, instances: [], nowMs: NOW, staleMs: 60_000 };
    return isAcceptedByReaders({ key, json: '{"newer":1,"revision":4}', storedMs: NOW - 20_000 }, readers);
  };
  expect([accepted(4, 'in-force'), accepted(4, 'refused'), accepted(3, 'in-force')]).toEqual([true, false, false]);
});
