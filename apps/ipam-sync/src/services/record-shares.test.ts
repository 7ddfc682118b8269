import { expect, test } from 'vitest';
import { MAX_ENTRIES, RecordShares } from './record-shares.ts';

/** A Service with one address and one port, and its slice. */
const PAIR = 2 + 1 + 2 * 5;
const fill = (shares: RecordShares, namespace: string, most: number) => {
  let services = 0;
  for (; services < most; services += 1) {
    const uid = `${namespace}-${services}`;
    if (!(shares.put(uid, namespace, 2) && shares.put(`${uid}-slice`, namespace, 1))) break;
  }
  return services;
};

test('records - a namespace with endless Services leaves as many to another one; in one namespace, none', () => {
  const shares = new RecordShares();
  const half = Math.trunc(MAX_ENTRIES / 2 / PAIR);
  expect(fill(shares, 'tenant', MAX_ENTRIES)).toBe(half);
  expect(fill(shares, 'shop', 5_000)).toBe(5_000);
  const control = new RecordShares();
  expect(fill(control, 'tenant', half)).toBe(half);
  expect(control.put('shop-in-tenant', 'tenant', 2)).toBe(false);
});

test('records - one large object does not fit, a smaller version of it does, and it counts once', () => {
  const shares = new RecordShares(100);
  expect([shares.put('a', 'tenant', 60), shares.refused]).toEqual([false, 1]);
  expect([shares.put('a', 'tenant', 45), shares.refused]).toEqual([true, 0]);
  expect([shares.put('a', 'tenant', 45), shares.put('b', 'shop', 20)]).toEqual([true, true]);
});

test('records - room that is free again is reported once, while objects are refused', () => {
  const shares = new RecordShares(100);
  shares.put('a', 'tenant', 40);
  shares.put('b', 'tenant', 40);
  expect([shares.refused, shares.takeRoom()]).toEqual([1, false]);
  shares.remove('b');
  expect([shares.refused, shares.takeRoom()]).toEqual([1, false]);
  shares.remove('a');
  expect([shares.takeRoom(), shares.takeRoom(), shares.refused]).toEqual([true, false, 0]);
  expect(shares.put('b', 'tenant', 40)).toBe(true);
});
