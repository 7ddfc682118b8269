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

it('turns - begin again when nothing waits, and end before those of jobs that have waited', () => {
  const turns = new FairTurns();
  turns.started(LAST_NEW_TURN - 1);
  expect(turnsOf(turns, 'tenant', 2)).toEqual([LAST_NEW_TURN, LAST_NEW_TURN]);
  turns.clear();
  expect(turns.next('tenant')).toBe(1);
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
