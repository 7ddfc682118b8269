// The cap of verdicts a minute, and each tenant's share of it.
import type { Level } from '@bailiff/schemas';
import { expect, test } from 'vitest';
import { VERDICT_SHARE, VerdictCap, verdictTenant } from './verdict-cap.ts';

const MINUTE = 60_000_000;
const given = (cap: VerdictCap, tenant: string, tries: number, level: Level = 'critical', at = 0) =>
  Array.from({ length: tries }, () => cap.allow(at, level, tenant)).filter(Boolean).length;

test('verdict cap - one namespace or node takes no more than its share, and the others have theirs', () => {
  const cap = new VerdictCap(100);
  expect(given(cap, 'tenant', 1_000)).toBe(100 * VERDICT_SHARE);
  expect(given(cap, verdictTenant('node-a', null), 1_000)).toBe(25);
  expect(given(cap, 'shop', 20)).toBe(20);
  expect(cap.suppressed).toBe(975 + 975);
});

test('verdict cap - all tenants together take no more than the cap, and half of it and of a share is for urgent ones', () => {
  const cap = new VerdictCap(100);
  const tenants = Array.from({ length: 10 }, (_, at) => `n${at}`);
  expect(tenants.map((tenant) => given(cap, tenant, 100, 'low'))).toEqual([13, 13, 13, 11, 0, 0, 0, 0, 0, 0]);
  expect(tenants.map((tenant) => given(cap, tenant, 100))).toEqual([12, 12, 12, 14, 0, 0, 0, 0, 0, 0]);
});

test('verdict cap - a new minute, a new share; of a small cap each tenant has one', () => {
  const cap = new VerdictCap(2);
  expect(given(cap, 'tenant', 5)).toBe(1);
  expect(given(cap, 'tenant', 5, 'critical', MINUTE)).toBe(1);
  expect(given(cap, 'shop', 5, 'critical', MINUTE)).toBe(1);
});

test('verdictTenant - a node is no namespace of its name', () => {
  expect(verdictTenant('shop', null)).not.toBe(verdictTenant('node-a', { namespace: 'shop' }));
});
