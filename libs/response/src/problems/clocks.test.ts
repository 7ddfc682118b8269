import type { InstanceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { nodeClockProblems, serviceClockProblems } from './clocks.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const MINUTE = 60_000;

it.each([
  [undefined, null],
  [0, null],
  [MINUTE - 1, null],
  [2 * MINUTE, /^its clock is 2m ahead of the bus: .* too early there$/],
  // A server that was stopped stores late what it had received.
  [-4 * MINUTE, null],
  [-6 * MINUTE, /^its clock is 6m behind the bus: .* too late there$/],
])('a node whose clock is %s ms ahead', (clockAheadMs, text) => {
  const found = nodeClockProblems('a', clockAheadMs === undefined ? {} : { clockAheadMs });
  expect(found.map((problem) => [problem.text, problem.exitCode])).toEqual(
    text === null ? [] : [[expect.stringMatching(text), 0]],
  );
});

it('services - one problem for each, by the clock that differs most; not of one that stopped', () => {
  const of = (service: string, clockAheadMs: number, part: Partial<InstanceStatus> = {}) =>
    ({ service, updatedAt: new Date(NOW - 5_000).toISOString(), clockAheadMs, ...part }) as InstanceStatus;
  const all = [
    of('responder', 2 * MINUTE),
    of('responder', -60 * MINUTE),
    of('correlator', 3),
    of('siem-relay', 9 * MINUTE, { stoppedAt: new Date(NOW).toISOString() }),
  ];
  expect(serviceClockProblems(all, NOW)).toMatchObject([
    { node: 'responder', severity: 'warn', text: expect.stringMatching(/^its clock is 60m behind the bus: /) },
  ]);
});
