// The cap of verdicts per minute, and the share of each tenant.
import type { Level } from '@bailiff/schemas';
import { expect, test } from 'vitest';
import { DEFAULT_VERDICTS_PER_MINUTE, VERDICT_SHARE, VerdictCap, verdictTenant } from './verdict-cap.ts';

const MINUTE = 60_000_000;
const given = (cap: VerdictCap, tenant: string, tries: number, level: Level = 'critical', at = 0) =>
  Array.from({ length: tries }, () => cap.allow(at, level, tenant)).filter(Boolean).length;

test('verdict cap - a namespace or node uses at most its share', () => {
  const cap = new VerdictCap(100);
  expect(given(cap, 'tenant', 1_000)).toBe(100 * VERDICT_SHARE);
  expect(given(cap, verdictTenant('node-a', null), 1_000)).toBe(25);
  expect(given(cap, 'shop', 20)).toBe(20);
  expect(cap.suppressed).toBe(975 + 975);
});

test('verdict cap - all tenants use at most the cap; half of it and of a share is for urgent verdicts', () => {
  const cap = new VerdictCap(100);
  const tenants = Array.from({ length: 10 }, (_, at) => `n${at}`);
  expect(tenants.map((tenant) => given(cap, tenant, 100, 'low'))).toEqual([13, 13, 12, 6, 3, 2, 1, 0, 0, 0]);
  expect(tenants.map((tenant) => given(cap, tenant, 100))).toEqual([12, 12, 7, 7, 5, 3, 2, 1, 1, 0]);
});

test('verdict cap - four namespaces leave verdicts to a fifth and a sixth; with shares alone they use all', () => {
  const cap = new VerdictCap();
  const tenants = ['a', 'b', 'c', 'd'];
  const used = tenants.map((tenant) => given(cap, tenant, 1_000));
  expect(used).toEqual([150, 150, 150, 75]);
  expect(tenants.length * DEFAULT_VERDICTS_PER_MINUTE * VERDICT_SHARE).toBe(DEFAULT_VERDICTS_PER_MINUTE);
  expect([given(cap, 'shop', 20), given(cap, verdictTenant('node-a', null), 10)]).toEqual([20, 10]);
});

test('verdict cap - shares renew each minute; a small cap leaves one per tenant', () => {
  const cap = new VerdictCap(2);
  expect(given(cap, 'tenant', 5)).toBe(1);
  expect(given(cap, 'tenant', 5, 'critical', MINUTE)).toBe(1);
  expect(given(cap, 'shop', 5, 'critical', MINUTE)).toBe(1);
});

test('verdictTenant - a node and a namespace of the same name differ', () => {
  expect(verdictTenant('shop', null)).not.toBe(verdictTenant('node-a', { namespace: 'shop' }));
});
