/**
 * Builds violations of kind lsm from increments of cells. Pure. As for packets, the cumulative
 * value is exact, `count` is the sampled part of the increment and `suppressed` the rest. Distinct
 * operations of a cell are separate violations (sample-dedup.ts).
 */
import type { Violation } from '@bailiff/schemas';
import type { Account, CellFacts } from '../counting/account.ts';
import type { Part } from './sample-dedup.ts';

/**
 * Cumulative values of an epoch only grow: a generation is never reused, and its cells keep their
 * meaning.
 */
export function lsmCounterEpoch(
  bootId: string,
  generation: number,
  cell: number,
  { vector, action }: CellFacts,
): string {
  return `${bootId}/lsm/${generation}/${cell}/${vector}/${action}`;
}

export interface LsmIncrement {
  readonly bootId: string;
  readonly account: Account;
  readonly cell: number;
  readonly part: Part;
  readonly nowMicros: number;
  /** Denied operations pass. */
  readonly disarmed: boolean;
}

export function fillLsmViolation(into: Violation, increment: LsmIncrement): void {
  const { account, cell, nowMicros } = increment;
  const { cumulative, enqueued, count, first, last } = increment.part;
  const facts = account.facts[cell] as CellFacts;
  const grown = Math.max(0, cumulative - enqueued);
  into.kind = 'lsm';
  into.vector = facts.vector;
  into.action = increment.disarmed ? 'audit' : facts.action;
  into.state = 'programmed';
  into.counterEpoch = lsmCounterEpoch(increment.bootId, account.stored.generation, cell, facts);
  into.cumulativePackets = cumulative;
  into.cumulativeSkbs = 0;
  into.cumulativeBytes = 0;
  into.count = count;
  into.suppressed = grown - count;
  into.firstSeenAt = first?.observedAt ?? nowMicros;
  into.lastSeenAt = grown > count ? nowMicros : (last?.observedAt ?? nowMicros);
  into.final = account.gone;
  into.interfaceName = '';
  into.ifindex = 0;
  into.generation = account.stored.generation;
  into.pod = account.stored.pod;
  into.sample = null;
  into.detail = increment.disarmed && facts.action === 'drop' ? 'disarmed: it was let pass' : '';
  into.operation = last;
  into.policy = facts.policy;
  into.policyRevision = facts.policyRevision;
  into.severity = facts.severity;
  into.tags = [...facts.tags];
  into.message = facts.message;
}
