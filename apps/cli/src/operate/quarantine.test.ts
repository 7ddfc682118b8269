import type { NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { quarantinedOf, stateOf } from './quarantine.ts';

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
  const { entries, problems } = quarantinedOf(list(entry, { ...entry, podUid: 'u2', until: 'soon' }));
  expect(entries.map(({ podUid, untilMs }) => [podUid, untilMs])).toEqual([
    ['u1', Date.parse(entry.until)],
    ['u2', Number.POSITIVE_INFINITY],
  ]);
  expect(problems).toEqual([expect.stringMatching(/^entries\.1\.until: /)]);
});

it('quarantine list - an invalid snapshot is reported', () => {
  expect(quarantinedOf('{')).toEqual({ entries: [], problems: [expect.stringMatching(/^cannot be parsed: not JSON/)] });
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
  it.each([
    ['in force', node([iface({})])],
    ['in force', node([iface({}), iface({ podUid: 'other', coverage: 'not-covered' })])],
    ['not applied', node([iface({ quarantinedUntil: null })])],
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
  ])('%s', (state, status) => {
    expect(stateOf({ podUid: 'u' }, status, nowMs)).toBe(state);
  });
});
