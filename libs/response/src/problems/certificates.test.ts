import type { InstanceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { serviceCertificateProblems } from './certificates.ts';

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
