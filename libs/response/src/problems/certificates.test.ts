import type { InstanceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { certificateProblems, serviceCertificateProblems } from './certificates.ts';

const NOW = Date.parse('2026-12-01T12:00:00Z');
const DAY = 86_400_000;
const instance = (days: number, agoMs = 5_000) =>
  ({
    service: 'responder',
    updatedAt: new Date(NOW - agoMs).toISOString(),
    certificates: [{ what: 'Redis certificate', notAfter: new Date(NOW + days * DAY).toISOString() }],
  }) as unknown as InstanceStatus;
const texts = (...instances: InstanceStatus[]) =>
  serviceCertificateProblems(instances, NOW).map(({ severity, node, text }) => `${severity} ${node}: ${text}`);

it('a certificate that a service uses - a warning from 30 days on, a failure from 3; the earliest of its replicas', () => {
  expect(texts(instance(29), instance(300))).toEqual(['warn responder: its Redis certificate ends in 29d']);
  expect(texts(instance(2))).toEqual(['shout responder: its Redis certificate ends in 2d']);
  expect(texts(instance(-1))).toEqual(['shout responder: its Redis certificate ended 1d ago']);
});

it('control: 31 days, an instance that ended, and a time that is none - are no problem', () => {
  const none = { ...instance(2), certificates: [{ what: 'Redis certificate', notAfter: 'never' }] };
  expect(texts(instance(31), instance(2, 3_600_000), none)).toEqual([]);
});

it.each([
  [23, 24, undefined],
  [9, 24, undefined],
  [7, 24, 'warn'],
  [1, 24, 'warn'],
  [0.5, 24, 'shout'],
  [-0.5, 24, 'shout'],
  [24 * 31, 24 * 365, undefined],
  [24 * 29, 24 * 365, 'warn'],
  [24 * 2, 24 * 365, 'shout'],
])('%d hours before the end of a certificate for %d hours - %s', (left, life, expected) => {
  const notAfterMs = NOW + left * 3_600_000;
  const dates = { notAfterMs, notBeforeMs: notAfterMs - life * 3_600_000 };
  const [ofBus] = certificateProblems([{ what: 'server certificate', ...dates }], NOW);
  const iso = (ms: number) => new Date(ms).toISOString();
  const reported = { what: 'Redis certificate', notAfter: iso(dates.notAfterMs), notBefore: iso(dates.notBeforeMs) };
  const [ofRedis] = serviceCertificateProblems([{ ...instance(0), certificates: [reported] }], NOW);
  expect([ofBus?.severity, ofRedis?.severity]).toEqual([expected, expected]);
});
