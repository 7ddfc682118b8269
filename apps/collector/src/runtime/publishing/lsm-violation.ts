/**
 * What a cell's growth says as a Violation of kind lsm. Pure. As of packets: cumulative is exact, `count` is what was sampled since the
 * cell's last violation, `suppressed` the rest of what it grew by. Several operations of a cell are several violations (shown.ts).
 */
import type { Violation } from '@bailiff/schemas';
import type { Account, CellFacts } from '../counting/account.ts';
import type { Part } from './sample-dedup.ts';

/** Within it cumulative values only grow: a generation is never given out twice, and its cells mean one thing. */
export function lsmCounterEpoch(
  bootId: string,
  generation: number,
  cell: number,
  { vector, action }: CellFacts,
): string {
  return `${bootId}/lsm/${generation}/${cell}/${vector}/${action}`;
}

export interface LsmGrowth {
  readonly bootId: string;
  readonly account: Account;
  readonly cell: number;
  readonly part: Part;
  readonly nowMicros: number;
  /** What is denied passes: break-glass. */
  readonly disarmed: boolean;
}

export function fillLsmViolation(into: Violation, growth: LsmGrowth): void {
  const { account, cell, nowMicros } = growth;
  const { cumulative, enqueued, count, first, last } = growth.part;
  const facts = account.facts[cell] as CellFacts;
  const grown = Math.max(0, cumulative - enqueued);
  into.kind = 'lsm';
  into.vector = facts.vector;
  into.action = growth.disarmed ? 'audit' : facts.action;
  into.state = 'programmed';
  into.counterEpoch = lsmCounterEpoch(growth.bootId, account.stored.generation, cell, facts);
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
  into.detail = growth.disarmed && facts.action === 'drop' ? 'disarmed: it was let pass' : '';
  into.operation = last;
  into.policy = facts.policy;
  into.policyRevision = facts.policyRevision;
  into.severity = facts.severity;
  into.tags = [...facts.tags];
  into.message = facts.message;
}
