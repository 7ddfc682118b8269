// Results of reports, their bounds, and what a failed request of a report means.
import { isNamespaceGone, KubeError, type KubeErrorCode } from '@bailiff/kube';
import { describe, expect, it } from 'vitest';
import type { Facts } from '../outputs/facts.ts';
import { DeliveryError } from '../outputs/output.ts';
import { sampleFacts } from '../outputs/testing.ts';
import { deliveryErrorOf } from './output.ts';
import { MAX_REPORTS, MAX_RESULTS, Reports } from './reports.ts';

const AT = 1_790_000_000_000;
const DAY = 86_400_000;
const facts = (part: Partial<Facts> = {}) => sampleFacts({ timeMs: AT, ...part });
const resultsOf = (reports: Reports, namespace = 'shop') =>
  (reports.report(namespace)?.['results'] ?? []) as { message: string; properties: Record<string, string> }[];

describe('reports', () => {
  it('a verdict - is a result with its pod, and a response is added to it', () => {
    const reports = new Reports(DAY);
    expect(reports.take(facts(), AT)).toBe('shop');
    expect(reports.take(facts({ kind: 'response', summary: 'delete of shop/web-0 succeeded' }), AT)).toBe('shop');
    expect(reports.report('shop')).toMatchObject({
      apiVersion: 'openreports.io/v1alpha1',
      kind: 'Report',
      metadata: { name: 'bailiff' },
      scope: { kind: 'Namespace', name: 'shop' },
      summary: { fail: 1 },
      results: [
        {
          policy: 'spoof',
          result: 'fail',
          severity: 'high',
          message: 'why',
          timestamp: { seconds: AT / 1_000, nanos: 0 },
          resources: [{ apiVersion: 'v1', kind: 'Pod', namespace: 'shop', name: 'web-0', uid: 'p1' }],
          properties: { verdictId: 'v1', node: 'node-1', cluster: 'eu', response: 'delete of shop/web-0 succeeded' },
        },
      ],
    });
  });

  it('verdicts of one pod - each rule has a result, and a later verdict of a rule replaces it', () => {
    const reports = new Reports(DAY);
    for (const part of [{}, { rule: 'flood' }, { verdictId: 'v2' }, { verdictId: 'v2' }]) reports.take(facts(part), AT);
    expect(resultsOf(reports).map(({ properties }) => properties['verdictId'])).toEqual(['v1', 'v2']);
    // A response to the verdict that was replaced.
    expect(reports.take(facts({ kind: 'response', rule: '', verdictId: 'v0' }), AT)).toBeNull();
  });

  it('a verdict about a node - has no namespace and no report', () => {
    expect(new Reports(DAY).take(facts({ namespace: '', pod: '' }), AT)).toBeNull();
  });

  it('hostile texts - have no markup, and a bounded length', () => {
    const reports = new Reports(DAY);
    reports.take(facts({ summary: `<https://evil|pay> ${'x'.repeat(2_000)}`, process: '<b>' }), AT);
    const [result] = resultsOf(reports);
    expect(result?.message).toMatch(/^‹https:/);
    expect(result?.message).toHaveLength(512);
    expect(result?.properties['process']).toBe('‹b›');
  });

  it('results - end after their time, and the last one ends the report', () => {
    const reports = new Reports(DAY);
    reports.take(facts(), AT);
    reports.take(facts({ rule: 'flood' }), AT + 1_000);
    reports.settled('shop');
    reports.expire(AT + DAY - 1);
    expect(reports.changed()).toEqual([]);
    reports.expire(AT + DAY);
    expect([resultsOf(reports).length, reports.changed()]).toEqual([1, ['shop']]);
    reports.expire(AT + DAY + 1_000);
    expect([reports.report('shop'), reports.changed()]).toEqual([null, ['shop']]);
  });

  it('a namespace with many results - loses its oldest, and none of a neighbour', () => {
    const reports = new Reports(DAY);
    reports.take(facts({ namespace: 'other' }), AT);
    for (let n = 0; n < MAX_RESULTS + 5; n += 1) reports.take(facts({ podUid: `p${n}`, verdictId: `v${n}` }), AT);
    expect(resultsOf(reports, 'other')).toHaveLength(1);
    expect(resultsOf(reports)).toHaveLength(MAX_RESULTS);
    expect(resultsOf(reports)[0]?.properties['verdictId']).toBe('v5');
    expect(reports.unkept).toBe(5);
    // The largest report is far below the limit of an object, also where each character takes four bytes.
    const wide = new Reports(DAY);
    const long = '\u{1f600}'.repeat(2_000);
    for (let n = 0; n < MAX_RESULTS; n += 1)
      wide.take(facts({ podUid: `p${n}`, summary: long, process: long, executable: long }), AT);
    expect(Buffer.byteLength(JSON.stringify(wide.report('shop')))).toBeLessThan(700_000);
  });

  it('more namespaces than reports - the least recently changed one ends, and its report is deleted', () => {
    const reports = new Reports(DAY);
    for (let n = 0; n < MAX_REPORTS; n += 1) reports.take(facts({ namespace: `n${n}` }), AT);
    reports.take(facts({ namespace: 'n0', rule: 'flood' }), AT);
    for (const namespace of reports.changed()) reports.settled(namespace);
    reports.take(facts({ namespace: 'new' }), AT);
    expect([reports.has('n0'), reports.has('n1'), reports.unkept]).toEqual([true, false, 1]);
    expect(reports.changed().sort()).toEqual(['n1', 'new']);
  });
});

describe('a failed request', () => {
  const failure = (code: KubeErrorCode, message: string) => new KubeError(code, message);
  it.each<[KubeErrorCode, string, string]>([
    [
      'KUBE_FORBIDDEN',
      'reports.openreports.io is forbidden: User "x" cannot patch resource "reports"',
      'MISCONFIGURED',
    ],
    ['KUBE_INVALID', 'admission webhook "w" denied the request: it cannot patch resource', 'REFUSED'],
    ['KUBE_NOT_FOUND', 'status 404', 'MISCONFIGURED'],
    ['KUBE_TOO_MANY_REQUESTS', 'later', 'BUSY'],
    ['KUBE_UNREACHABLE', 'refused', 'UNREACHABLE'],
    ['KUBE_CONFLICT', 'conflict', 'FAILED'],
    ['KUBE_SERVER', 'etcdserver: leader changed', 'FAILED'],
    ['KUBE_SERVER', 'Internal error occurred: failed calling webhook "w": connection refused', 'REFUSED'],
  ])('%s, %s - is OUTPUT_%s', (code, message, expected) => {
    const error = deliveryErrorOf(failure(code, message));
    expect(error).toBeInstanceOf(DeliveryError);
    expect((error as DeliveryError).code).toBe(`OUTPUT_${expected}`);
    expect(isNamespaceGone(failure(code, message))).toBe(false);
  });

  it('a namespace that is gone or ends - is recognised', () => {
    expect(isNamespaceGone(failure('KUBE_NOT_FOUND', 'POST /x: namespaces "shop" not found'))).toBe(true);
    const ends = 'unable to create new content in namespace shop because it is being terminated';
    expect(isNamespaceGone(failure('KUBE_FORBIDDEN', ends))).toBe(true);
  });

  it('another error - stays as it is', () => {
    const error = new Error('aborted');
    expect(deliveryErrorOf(error)).toBe(error);
  });
});
