import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { apiPath } from './client.ts';
import { errorOfStatus, KubeError } from './errors.ts';
import {
  leaseSpec,
  microTime,
  nextStep,
  type Observed,
  observe,
  DEFAULT_LEASE_TIMING as timing,
} from './lease-rules.ts';
import { LineSplitter } from './lines.ts';
import type { Lease } from './types.ts';

test('lines - however a stream is cut, the lines are the same', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.string({ unit: 'grapheme', maxLength: 12 }).filter((s) => !s.includes('\n')),
        { maxLength: 10 },
      ),
      fc.array(fc.nat(200), { maxLength: 12 }),
      (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''), 'utf8');
        const seen: string[] = [];
        const splitter = new LineSplitter((line) => seen.push(line));
        let from = 0;
        for (const cut of [...cuts.map((c) => Math.min(c, bytes.length)).sort((a, b) => a - b), bytes.length]) {
          splitter.push(bytes.subarray(from, cut));
          from = cut;
        }
        expect(seen).toEqual(lines.filter((line) => line !== ''));
        expect(splitter.pendingBytes).toBe(0);
      },
    ),
  );
});

test('lines - a line above the bound is an error, one at the bound is not', () => {
  const splitter = new LineSplitter(() => {}, 8);
  splitter.push(Buffer.from('12345678\n'));
  splitter.push(Buffer.from('12345'));
  expect(() => splitter.push(Buffer.from('6789'))).toThrow(KubeError);
});

describe('errors', () => {
  test.each<[number, unknown, string, boolean]>([
    [400, null, 'KUBE_INVALID', false],
    [401, null, 'KUBE_UNAUTHORIZED', false],
    [403, null, 'KUBE_FORBIDDEN', false],
    [403, { message: 'pods "x" is forbidden: User "u" cannot delete resource "pods"' }, 'KUBE_FORBIDDEN', false],
    [403, { message: 'admission webhook "w" denied the request: cannot delete resource' }, 'KUBE_INVALID', false],
    [
      403,
      { message: 'pods "x" is forbidden: ValidatingAdmissionPolicy \'p\' denied request: kept' },
      'KUBE_INVALID',
      false,
    ],
    [403, { message: 'events "x" is forbidden: exceeded quota: q, requested: count/events=1' }, 'KUBE_INVALID', false],
    [403, { message: 'events "x" is forbidden: failed quota: q: must specify cpu' }, 'KUBE_INVALID', false],
    [403, { message: 'events "x" is forbidden: status unknown for quota: q, resources: n' }, 'KUBE_INVALID', false],
    [403, { message: 'events "x" is forbidden: insufficient quota to consume: n' }, 'KUBE_INVALID', false],
    [404, null, 'KUBE_NOT_FOUND', false],
    [409, { reason: 'Conflict' }, 'KUBE_CONFLICT', false],
    [409, { reason: 'AlreadyExists' }, 'KUBE_ALREADY_EXISTS', false],
    [410, null, 'KUBE_GONE', false],
    [400, { reason: 'Expired' }, 'KUBE_GONE', false],
    [422, null, 'KUBE_INVALID', false],
    [429, null, 'KUBE_TOO_MANY_REQUESTS', true],
    [500, null, 'KUBE_SERVER', true],
    [500, { message: 'etcdserver: request is too large' }, 'KUBE_INVALID', false],
    [500, { message: 'rpc error: desc = trying to send message larger than max (2 vs. 1)' }, 'KUBE_INVALID', false],
    [500, { message: 'etcdserver: request timed out' }, 'KUBE_SERVER', true],
    [503, null, 'KUBE_SERVER', true],
    [504, null, 'KUBE_SERVER', true],
    [0, { code: 410, reason: 'Expired' }, 'KUBE_GONE', false],
    [0, { code: 500 }, 'KUBE_SERVER', true],
    [0, 'no object', 'KUBE_SERVER', true],
  ])('errors - status %i with %j is %s', (status, body, code, retryable) => {
    const error = errorOfStatus(status, body, 'GET /x');
    expect([error.code, error.retryable]).toEqual([code, retryable]);
  });
  test.each<[string | undefined, object | null, number | null]>([
    ['7', null, 7000],
    [undefined, { details: { retryAfterSeconds: 3 } }, 3000],
    ['86400', null, 60_000],
    ['Wed, 21 Oct 2026 07:28:00 GMT', null, null],
    [undefined, { details: { retryAfterSeconds: -1 } }, null],
  ])('errors - retry after %j %j is %j ms', (header, body, expected) => {
    expect(errorOfStatus(429, body, 'x', header).retryAfterMs).toBe(expected);
  });
});

test('paths - a name cannot step out of its place', () => {
  expect(apiPath`/api/v1/namespaces/${'a/../b'}/pods/${'x?y'}`).toBe('/api/v1/namespaces/a%2F..%2Fb/pods/x%3Fy');
});

describe('lease rules', () => {
  const lease = (holderIdentity: string, resourceVersion = '1'): Lease => ({
    metadata: { name: 'l', uid: 'u', resourceVersion },
    spec: { holderIdentity, leaseDurationSeconds: 15, leaseTransitions: 3, acquireTime: 'then', renewTime: 'then' },
  });
  const seen = { resourceVersion: '1', sinceMs: 1000 };
  test.each<[string, Lease | null, Observed | null, string]>([
    ['none', null, null, 'create'],
    ['ours', lease('me'), null, 'renew'],
    ['released', lease(''), null, 'acquire'],
    ['held, just seen', lease('you'), null, 'wait'],
    ['held, renewed meanwhile', lease('you', '2'), seen, 'wait'],
    ['held, not renewed but within its time', lease('you'), { ...seen, sinceMs: 86_000 }, 'wait'],
    ['held, not renewed for longer than its time', lease('you'), seen, 'acquire'],
  ])('lease rules - %s', (_, held, observed, expected) => {
    expect(nextStep(held, 'me', observed, 100_000).step).toBe(expected);
  });
  test('lease rules - what is observed dates from the first sight of a version', () => {
    const first = observe(lease('you'), null, 5);
    expect(observe(lease('you'), first, 9)).toBe(first);
    expect(observe(lease('you', '2'), first, 9)).toEqual({ resourceVersion: '2', sinceMs: 9 });
  });
  test('lease rules - transitions are counted, a renewal keeps when it was acquired, a release has no holder', () => {
    const wallMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
    expect(microTime(wallMs)).toBe('2026-01-02T03:04:05.678000Z');
    const write = (step: 'create' | 'acquire' | 'renew' | 'release', held: Lease | null) =>
      leaseSpec(held, 'me', step, timing, wallMs);
    expect(write('create', null)).toMatchObject({
      holderIdentity: 'me',
      leaseTransitions: 0,
      leaseDurationSeconds: 15,
    });
    expect(write('acquire', lease('you'))).toMatchObject({ leaseTransitions: 4, acquireTime: microTime(wallMs) });
    expect(write('renew', lease('me'))).toMatchObject({ leaseTransitions: 3, acquireTime: 'then' });
    expect(write('release', lease('me'))).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
  });
});
