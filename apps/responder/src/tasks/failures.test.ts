import { BusError } from '@bailiff/bus';
import { KubeError } from '@bailiff/kube';
import { QuarantineError } from '@bailiff/response';
import { describe, expect, it } from 'vitest';
import { afterFailure, MIN_TRIES } from './failures.ts';

const limits = {
  baseMs: 100,
  maxMs: 1_000,
  giveUpAfterMs: 10_000,
  budgetGiveUpAfterMs: 60_000,
  outageGiveUpAfterMs: 90_000,
};
const kube = (code: KubeError['code'], data = {}) => new KubeError(code, 'words', data);

describe('failures', () => {
  it.each([
    ['first', 1, 100],
    ['second', 2, 200],
    ['fourth', 4, 800],
    ['capped', 9, 1_000],
  ])('afterFailure - the wait grows with each attempt: %s', (_name, tries, afterMs) => {
    const next = afterFailure(
      kube('KUBE_TIMEOUT'),
      'delete',
      { tries, failingForMs: 0, overdueForMs: 0, hasAsked: true },
      limits,
    );
    expect(next).toMatchObject({ kind: 'retry', afterMs, code: 'kube-timeout', countsAsTry: true });
  });

  it.each<[string, Error, string, number, number, string]>([
    ['an outage within the bound', kube('KUBE_SERVER'), 'delete', 50, 9_999, 'retry'],
    ['an outage beyond the bound', kube('KUBE_SERVER'), 'delete', 50, 10_000, 'give-up'],
    ['few tries in a long time', kube('KUBE_SERVER'), 'delete', MIN_TRIES - 1, 99_999, 'retry'],
    ['a disruption budget within its bound', kube('KUBE_TOO_MANY_REQUESTS'), 'evict', 50, 59_999, 'retry'],
    ['a disruption budget beyond its bound', kube('KUBE_TOO_MANY_REQUESTS'), 'evict', 50, 60_000, 'give-up'],
    ['throttling is no budget', kube('KUBE_TOO_MANY_REQUESTS'), 'delete', 50, 10_000, 'give-up'],
    ['a permanent error', kube('KUBE_INVALID'), 'delete', MIN_TRIES, 0, 'give-up'],
    ['the same, at first', kube('KUBE_INVALID'), 'delete', 1, 0, 'retry'],
    [
      'a full quarantine list, which may get room',
      new QuarantineError('QUARANTINE_FULL', 'full'),
      'quarantine',
      50,
      9_999,
      'retry',
    ],
    [
      'a full quarantine list beyond the bound',
      new QuarantineError('QUARANTINE_FULL', 'full'),
      'quarantine',
      50,
      10_000,
      'give-up',
    ],
    ['a bus that is away, for ever', new BusError('BUS_UNREACHABLE', 'away'), 'delete', 99, 1e9, 'retry'],
    ['an expired token', kube('KUBE_UNAUTHORIZED'), 'delete', 1, 0, 'retry'],
  ])('afterFailure - %s', (_name, error, action, tries, failingForMs, expected) => {
    expect(
      afterFailure(error, action, { tries, failingForMs, overdueForMs: failingForMs, hasAsked: true }, limits).kind,
    ).toBe(expected);
  });

  it.each([
    ['no connection', 'KUBE_UNREACHABLE', true],
    ['an expired token', 'KUBE_UNAUTHORIZED', true],
    ['no token, such as of a plug-in that fails', 'KUBE_CONFIG', true],
    ['no response to reads', 'KUBE_TIMEOUT', false],
    ['failing reads', 'KUBE_SERVER', false],
    ['throttled reads', 'KUBE_TOO_MANY_REQUESTS', false],
  ] as const)('afterFailure - the API server is away until the verdict is too old: %s', (_name, code, hasAsked) => {
    const after = (overdueForMs: number, action = 'delete') =>
      afterFailure(kube(code), action, { tries: 50, failingForMs: 1e9, overdueForMs, hasAsked }, limits);
    expect([after(89_999), after(89_999, 'evict')]).toMatchObject([{ isAway: true }, { isAway: true }]);
    expect(after(90_000).kind).toBe('give-up');
    const ofOthers = afterFailure(
      kube('KUBE_FORBIDDEN'),
      'delete',
      { tries: 50, failingForMs: 10_000, overdueForMs: 0, hasAsked },
      limits,
    );
    expect(ofOthers.kind, 'control').toBe('give-up');
  });

  it('afterFailure - Retry-After of the server', () => {
    const error = kube('KUBE_TOO_MANY_REQUESTS', { retryAfterMs: 5_000 });
    const next = afterFailure(error, 'evict', { tries: 1, failingForMs: 0, overdueForMs: 0, hasAsked: true }, limits);
    expect(next).toMatchObject({ kind: 'retry', afterMs: 5_000, code: 'disruption-budget' });
  });

  it('afterFailure - the first conflict is retried at once', () => {
    expect(
      afterFailure(
        kube('KUBE_CONFLICT'),
        'label',
        { tries: 1, failingForMs: 0, overdueForMs: 0, hasAsked: true },
        limits,
      ),
    ).toMatchObject({
      afterMs: 0,
    });
    expect(
      afterFailure(
        kube('KUBE_CONFLICT'),
        'label',
        { tries: 2, failingForMs: 0, overdueForMs: 0, hasAsked: true },
        limits,
      ),
    ).toMatchObject({
      afterMs: 200,
    });
  });

  it('afterFailure - an error of the bus does not count as an attempt', () => {
    const next = afterFailure(
      new BusError('BUS_TIMEOUT', 'slow'),
      'delete',
      { tries: 1, failingForMs: 0, overdueForMs: 0, hasAsked: true },
      limits,
    );
    expect(next).toMatchObject({ kind: 'retry', countsAsTry: false });
  });

  it('afterFailure - a bug is thrown', () => {
    expect(() =>
      afterFailure(
        new TypeError('bug'),
        'delete',
        { tries: 1, failingForMs: 0, overdueForMs: 0, hasAsked: true },
        limits,
      ),
    ).toThrow('bug');
  });
});
