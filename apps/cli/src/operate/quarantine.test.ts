import type { NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { quarantinedOf } from '../shared/quarantined.ts';
import { heldOf, stateOf } from './quarantine.ts';

const entry = {
  podUid: 'u1',
  podNamespace: 'shop',
  podName: 'web-0',
  verdictId: 'v',
  until: '2026-11-24T12:00:00Z',
  reason: 'r',
};
const list = (...entries: unknown[]) => JSON.stringify({ nodeName: 'node-a', revision: 1, entries });

it('quarantine list - a bad entry hides neither itself nor the others, as the kernel has it', () => {
  const { entries, problems } = quarantinedOf('node-a', list(entry, { ...entry, podUid: 'u2', until: 'soon' }));
  expect(entries.map(({ podUid, untilMs }) => [podUid, untilMs])).toEqual([
    ['u1', Date.parse(entry.until)],
    ['u2', Number.POSITIVE_INFINITY],
  ]);
  expect(problems).toEqual([expect.stringMatching(/^entries\.1\.until: /)]);
});

it('quarantine list - an invalid snapshot is reported', () => {
  expect(quarantinedOf('node-a', '{')).toEqual({
    entries: [],
    problems: [expect.stringMatching(/^cannot be parsed: not JSON/)],
  });
});

it('quarantine list - one that names another node is in force nowhere, and reported', () => {
  const problems = ['names node node-a'];
  expect(quarantinedOf('node-b', list(entry))).toEqual({ entries: [], problems });
});

describe('state of a quarantine', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const iface = (part: object) => ({
    podUid: 'u',
    coverage: 'guarded',
    quarantinedUntil: '2026-11-24T13:00:00Z',
    ...part,
  });
  const node = (interfaces: object[], part: object = {}) =>
    ({ updatedAt: '2026-11-24T11:59:55Z', interfaces, ...part }) as unknown as NodeStatus;
  const disarmed = (namespace: string) => ({ namespace, disarmedUntil: '2026-11-24T12:10:00Z' });
  it.each([
    ['in force', node([iface({})])],
    ['in force', node([iface({}), iface({ podUid: 'other', coverage: 'not-covered' })])],
    ['not applied', node([iface({ quarantinedUntil: null })])],
    ['not applied', node([iface({ quarantinedUntil: '2026-11-24T11:59:59Z' })])],
    ['not applied', node([iface({}), iface({ quarantinedUntil: null })])],
    ['sent only', node([iface({ pastGuardFrames: 3 })])],
    ['partly', node([iface({}), iface({ coverage: 'not-covered' })])],
    ['blocks nothing', node([iface({ coverage: 'not-applicable' })])],
    ['no interface', node([])],
    ['no interface', node([iface({ coverage: 'partial', interfaceName: '' })])],
    ['in force', node([iface({ coverage: 'partial', interfaceName: 'veth1' })])],
    ['not known', node([], { interfacesOmitted: { guarded: 2, partial: 0, 'not-covered': 0, 'not-applicable': 0 } })],
    ['not known', node([iface({})], { updatedAt: '2026-11-24T11:58:00Z' })],
    ['not known', 'not JSON'],
    ['not known', undefined],
    ['disarmed', node([iface({})], { disarmedUntil: '2026-11-24T12:10:00Z' })],
    ['in force', node([iface({})], { disarmedUntil: '2026-11-24T11:59:59Z' })],
    ['disarmed', node([iface({})], { disarmedNamespaces: [disarmed('shop')] })],
    ['in force', node([iface({})], { disarmedNamespaces: [disarmed('pay')] })],
    ['not known', node([iface({})], { disarmedNamespaces: [disarmed('pay')], disarmedNamespacesOmitted: 1 })],
    ['not applied', node([iface({ quarantinedUntil: null })], { disarmedUntil: '2026-11-24T12:10:00Z' })],
  ])('%s', (state, status) => {
    expect(stateOf({ podUid: 'u', podNamespace: 'shop' }, status, nowMs)).toBe(state);
  });
});

it('a pod that its node quarantines without an entry - is named, once; control: with an entry, after its end, and unreadable', () => {
  const nowMs = Date.parse('2026-11-24T12:00:00Z');
  const pod = { podUid: 'u', podNamespace: 'shop', podName: 'web-0' };
  const held = { ...pod, coverage: 'guarded', interfaceName: 'veth0', quarantinedUntil: '2026-11-24T13:00:00Z' };
  const nodes = (...interfaces: object[]) => new Map([['node-a', { interfaces } as unknown as NodeStatus]]);
  expect(heldOf([], nodes(held, { ...held }), nowMs)).toEqual([
    expect.objectContaining({ nodeName: 'node-a', podUid: 'u', podName: 'web-0', untilMs: nowMs + 3_600_000 }),
  ]);
  expect(heldOf([{ nodeName: 'node-b', podUid: 'u' }], nodes(held), nowMs)).toHaveLength(1);
  expect(heldOf([{ nodeName: 'node-a', podUid: 'u' }], nodes(held), nowMs)).toEqual([]);
  const others = [
    { ...held, quarantinedUntil: null },
    { ...held, quarantinedUntil: 'soon' },
    { ...held, coverage: 'not-covered' },
    { ...held, coverage: 'partial', interfaceName: '' },
  ];
  expect(heldOf([], nodes(...others), nowMs)).toEqual([]);
  expect(heldOf([], nodes(held), nowMs + 3_600_000)).toEqual([]);
  expect(heldOf([], new Map([['node-a', 'not JSON']]), nowMs)).toEqual([]);
});
