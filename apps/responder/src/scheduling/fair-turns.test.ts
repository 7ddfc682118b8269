import { expect, it } from 'vitest';
import { FairTurns, LAST_NEW_TURN, LAST_TURN, waitedTurn } from './fair-turns.ts';

const turnsOf = (turns: FairTurns, tenant: string, jobs: number) =>
  Array.from({ length: jobs }, () => turns.next(tenant));

it('turns - a tenant with one job waits behind one job of a tenant with many, whose jobs keep their order', () => {
  const turns = new FairTurns();
  expect(turnsOf(turns, 'tenant', 5)).toEqual([1, 2, 3, 4, 5]);
  expect(turnsOf(turns, 'shop', 2)).toEqual([1, 2]);
  turns.started(3);
  expect([turns.next('other'), turns.next('shop'), turns.next('tenant')]).toEqual([4, 4, 6]);
});

it('turns - a tenant that paused does not overtake the others for what it did not use', () => {
  const turns = new FairTurns();
  turns.next('paused');
  turnsOf(turns, 'tenant', 100);
  turns.started(90);
  expect(turnsOf(turns, 'paused', 2)).toEqual([91, 92]);
});

it('turns - begin again when nothing waits', () => {
  const turns = new FairTurns();
  turnsOf(turns, 'tenant', 5);
  turns.clear();
  expect(turns.next('tenant')).toBe(1);
});

it('turns - begin again behind the last one, so that tenants have turns for good', () => {
  const turns = new FairTurns();
  for (let last = 0; last < LAST_NEW_TURN; ) last = turns.next('tenant');
  expect([turns.next('tenant'), turns.next('tenant'), turns.next('shop')]).toEqual([1, 2, 1]);
  // A job of before.
  turns.started(LAST_NEW_TURN - 7);
  expect([turns.next('other'), turns.next('tenant')]).toEqual([1, 3]);
});

it('turns - a job that starts late, such as after a cooldown, does not put later ones before those that wait', () => {
  const turns = new FairTurns();
  turnsOf(turns, 'tenant', 100);
  turns.started(90);
  expect(turns.next('shop')).toBe(91);
  turns.started(3);
  expect([turns.next('shop'), turns.next('other')]).toEqual([92, 91]);
});

it('turns - a job that has waited is behind all new ones, and before those of tenants with more', () => {
  expect(waitedTurn(1)).toBeGreaterThan(LAST_NEW_TURN);
  expect(waitedTurn(1)).toBeLessThan(waitedTurn(2));
  expect(waitedTurn(50_000)).toBeLessThan(LAST_TURN);
  expect(waitedTurn(2 ** 40)).toBe(LAST_TURN);
});

it('turns - tenants whose turn is over are forgotten; their next turn is the same', () => {
  const turns = new FairTurns();
  for (let tenant = 0; tenant < 5_000; tenant += 1) turns.next(`tenant-${tenant}`);
  turns.started(1);
  expect([turns.next('further'), turns.next('tenant-1')]).toEqual([2, 2]);
});
