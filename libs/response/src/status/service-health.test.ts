import type { InstanceStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { healthOf, instancesOf, positionOf, type StreamInfo } from './service-health.ts';

const AT = Date.parse('2026-11-25T12:00:00Z');
const ago = (seconds: number) => new Date(AT - seconds * 1_000).toISOString();
const one = (name: string, heardAgo: number, part: Partial<InstanceStatus> = {}): InstanceStatus => ({
  service: 'correlator',
  instance: `${name}-0a1b2c3d`,
  version: '0.1.0',
  startedAt: ago(3_000),
  updatedAt: ago(heardAgo),
  configRevision: 0,
  configRefused: [],
  ready: { ok: true, since: ago(2_990), reason: '' },
  progress: [{ stream: 'VIOLATIONS', sequence: 10, storedAt: ago(100), behind: 0, stalledMs: 0 }],
  ...part,
});
const names = (...instances: InstanceStatus[]) => {
  const { running, silent } = instancesOf('correlator', instances, AT);
  return [running.map(({ instance }) => instance.slice(0, -9)), silent.map(({ instance }) => instance.slice(0, -9))];
};
const at = (sequence: number, part = {}) => ({
  progress: [{ stream: 'VIOLATIONS', sequence, storedAt: ago(100), behind: 0, stalledMs: 0, ...part }],
});

describe('instances', () => {
  it.each([
    ['recent status - running', [one('a', 29), one('b', 0)], [['a', 'b'], []]],
    ['old status - silent', [one('a', 31)], [[], ['a']]],
    ['stopped - neither', [one('a', 1, { stoppedAt: ago(1) })], [[], []]],
    ['of another service - not counted', [one('a', 1, { service: 'responder' })], [[], []]],
    ['silent for long beside a newer one - dropped', [one('a', 400), one('b', 1)], [['b'], []]],
    ['silent for a short time beside a newer one - kept', [one('a', 200), one('b', 1)], [['b'], ['a']]],
    ['the only one, silent for long - kept', [one('a', 3_000)], [[], ['a']]],
    [
      'restarted container - only the new one',
      [one('a', 5, { instance: 'a-11111111' }), one('a', 1, { startedAt: ago(4) })],
      [['a'], []],
    ],
    ['its clock was set back after its start - running', [one('a', 1, { startedAt: ago(-3_600) })], [['a'], []]],
    ['two on a host, one hangs - silent', [one('a', 40), one('a', 1)], [['a'], ['a']]],
  ])('%s', (_name, instances, expected) => {
    expect(names(...instances)).toEqual(expected);
  });
});

it('crashes - were killed or failed, are replaced on their host, and counted for ten minutes', () => {
  const crash = (name: string, heardAgo: number, part: Partial<InstanceStatus> = {}) =>
    one('a', heardAgo, { instance: `a-${name}`, startedAt: ago(heardAgo + 5), ...part });
  const counted = (...instances: InstanceStatus[]) =>
    healthOf(instancesOf('correlator', [...instances, one('a', 1, { startedAt: ago(9) })], AT), null, AT).crashed;
  expect(counted(crash('11111111', 60), crash('22222222', 30), crash('33333333', 12))).toBe(3);
  expect(counted(crash('11111111', 60, { stoppedAt: ago(60), failed: true }), crash('22222222', 30))).toBe(2);
  expect(counted(crash('11111111', 601), crash('22222222', 30, { stoppedAt: ago(30) }))).toBe(0);
});

it('the newest leader - counts also after its end', () => {
  const ledAgo = (...instances: InstanceStatus[]) =>
    healthOf(instancesOf('correlator', instances, AT), null, AT).ledAgoMs;
  expect(ledAgo(one('a', 5, { leads: true, stoppedAt: ago(5) }), one('b', 1, { leads: false }))).toBe(5_000);
  expect(ledAgo(one('a', 400, { leads: true }), one('b', 1, { leads: true }))).toBe(1_000);
  expect(ledAgo(one('b', 1, { leads: false }))).toBeNull();
});

describe('position', () => {
  const stream = { created: ago(10_000), config: { name: 'VIOLATIONS' }, state: { last_seq: 50 } };
  const of = (...instances: InstanceStatus[]) =>
    positionOf(instancesOf('correlator', instances, AT), stream as StreamInfo);
  it('the highest of all instances, including dead and stopped ones', () => {
    expect(of(one('a', 1, at(7)), one('b', 900, at(30)), one('c', 60, { ...at(12), stoppedAt: ago(60) }))).toBe(30);
  });
  it('ignores positions of a recreated stream', () => {
    expect(of(one('a', 1, at(51)))).toBe(0);
    expect(of(one('a', 1, at(20, { storedAt: ago(20_000) })))).toBe(0);
    expect(of(one('a', 1, at(20, { storedAt: '' })))).toBe(20);
  });
  it('null if no status has one', () => {
    const { progress: _, ...older } = one('a', 1);
    expect(of(older)).toBeNull();
    expect(of()).toBeNull();
  });
});

describe('health', () => {
  const waiting = (seconds: number) => ({ count: 3, oldestAtMs: AT - seconds * 1_000, atLeast: false });
  const of = (wait: ReturnType<typeof waiting> | null, ...instances: InstanceStatus[]) =>
    healthOf(instancesOf('correlator', instances, AT), wait, AT);
  it('only messages older than the newest status count as behind', () => {
    expect(of(waiting(5), one('a', 8))).toMatchObject({ behindMs: 0, waiting: { count: 0 } });
    expect(of(waiting(12), one('a', 8))).toMatchObject({ behindMs: 4_000, waiting: { count: 3 } });
  });
  it('newer messages are counted, with the age of the status that does not know them', () => {
    expect(of(waiting(5), one('a', 8))).toMatchObject({ newer: 3, heardMs: 8_000 });
    expect(of(waiting(12), one('a', 8))).toMatchObject({ newer: 0, heardMs: 8_000 });
    expect(of(waiting(5))).toMatchObject({ newer: 0, heardMs: 0 });
  });
  it('without a running instance every message is behind', () => {
    expect(of(waiting(5))).toMatchObject({ running: 0, behindMs: 5_000, waiting: { count: 3 } });
    expect(of(waiting(35), one('a', 40))).toMatchObject({ running: 0, silent: 1, behindMs: 35_000 });
  });
  it('stalled - only if every running instance is', () => {
    const stuck = at(10, { behind: 3, stalledMs: 50_000 });
    expect(of(waiting(60), one('a', 2, stuck))).toMatchObject({ stalledMs: 50_000 });
    expect(of(waiting(60), one('a', 2, stuck), one('b', 2))).toMatchObject({ stalledMs: 0 });
  });
  it('ready - counts instances, with the failing checks of the latest unready one', () => {
    const unready = (seconds: number, reason: string) => ({ ready: { ok: false, since: ago(seconds), reason } });
    expect(
      of(null, one('a', 1, unready(90, 'redis: away')), one('b', 1, unready(3, 'start')), one('c', 1)),
    ).toMatchObject({
      running: 3,
      ready: 1,
      notReady: 'start',
      notReadyForMs: 3_000,
    });
    expect(of(null, one('a', 1, { ready: undefined }))).toMatchObject({ running: 1, ready: 1, waiting: null });
  });
});
