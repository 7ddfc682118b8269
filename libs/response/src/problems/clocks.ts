/** Clocks of nodes and services that differ from that of the bus. Pure. */
import { age } from '../status/text.ts';
import type { OwnClock, ReportedInstance } from './facts.ts';
import { activeInstances } from './instances.ts';
import { type Problem, warn } from './problem.ts';

/** A status is stored within seconds after it was written. */
const AHEAD_MS = 60_000;
/** One that a stopped server has received is stored when it goes on, and replaced ten seconds later. */
const BEHIND_MS = 300_000;
const SYNCHRONISE = 'synchronise the clocks: docs/operations.md#wrong-clocks';

/** `is 2h ahead of the bus`; empty if it is right. */
function differenceOf({ clockAheadMs = 0 }: OwnClock): string {
  if (clockAheadMs >= AHEAD_MS) return `is ${age(clockAheadMs)} ahead of the bus`;
  return -clockAheadMs >= BEHIND_MS ? `is ${age(-clockAheadMs)} behind the bus` : '';
}

export function nodeClockProblems(node: string, clock: OwnClock): Problem[] {
  const difference = differenceOf(clock);
  if (difference === '') return [];
  const early = (clock.clockAheadMs ?? 0) > 0 ? 'early' : 'late';
  return [warn(node, `its clock ${difference}: quarantines and disarms end that much too ${early} there`, SYNCHRONISE)];
}

/** One problem per service, for the instance whose clock differs most. */
export function serviceClockProblems(instances: readonly ReportedInstance[], nowMs: number): Problem[] {
  const worst = new Map<string, ReportedInstance>();
  const aheadOf = ({ clockAheadMs = 0 }: OwnClock) => Math.abs(clockAheadMs);
  for (const one of activeInstances(instances, nowMs)) {
    const known = worst.get(one.service);
    if (!known || aheadOf(one) > aheadOf(known)) worst.set(one.service, one);
  }
  return [...worst].flatMap(([service, one]) => {
    const difference = differenceOf(one);
    if (difference === '') return [];
    return [
      warn(service, `its clock ${difference}: what it ends or times out is early or late`, SYNCHRONISE, 'services'),
    ];
  });
}
