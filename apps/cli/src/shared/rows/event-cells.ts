/** Events as table rows. Pure. */
import {
  claimOf,
  clockTime,
  destinationOf,
  type EventKind,
  type EventRow,
  isUndecided,
  outcomeOf,
  type Refused,
} from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { Cell, Column } from '../text/table.ts';

/** Titles of the columns count, claim and destination, by kind. */
const TITLES = {
  spoof: ['PACKETS', 'CLAIMS TO BE', 'SENT TO'],
  lsm: ['TIMES', 'OPERATION', 'BY PROGRAM'],
  both: ['COUNT', 'CLAIMS TO BE / DID', 'SENT TO / BY'],
} as const;

/** Columns of a table with these kinds. */
export function eventColumns(kind: EventKind | undefined): readonly Column[] {
  const [count, claim, destination] = TITLES[kind === undefined ? 'both' : kind === 'lsm' ? 'lsm' : 'spoof'];
  return [
    { title: 'TIME (UTC)' },
    { title: 'POD' },
    { title: kind === 'lsm' ? 'POLICY/RULE' : 'VECTOR' },
    { title: 'ACTION' },
    { title: count, align: 'right' },
    { title: claim, min: 12 },
    // The program is essential for an operation; the destination of a forged packet is not.
    { title: destination, min: 12, spare: kind !== 'lsm' },
    { title: 'NODE', spare: true },
    { title: 'SEQ', align: 'right', spare: true },
  ];
}

/** `waits`: the pod is new or has just ended, so the correlator has not decided yet. */
const refusal = (refused: Refused): Cell =>
  isUndecided(refused) ? { text: 'waits', style: 'yellow' } : { text: 'refused', style: 'red' };

/** `foreign-pod, a count of 9`: what a node claims, and why it is not believed. */
const refusedText = ({ reason }: Refused, claimed: number) => `${reason}, a count of ${claimed}`;

export function eventCells(row: EventRow, nowMs: number): Cell[] {
  const seq = `#${row.sequence}`;
  if (row.kind === 'gap') {
    const { interfaceName, packetsBeforeGuard, appearedToGuardedMicros } = row.gap;
    const window =
      appearedToGuardedMicros < 0
        ? 'existed before the collector'
        : `guarded after ${(appearedToGuardedMicros / 1000).toFixed(1)} ms`;
    const passed = row.refused ? refusal(row.refused) : { text: 'passed', style: 'yellow' as const };
    const packets = row.refused ? '-' : String(packetsBeforeGuard);
    return [
      clockTime(row.atMicros, nowMs),
      row.pod ?? `? (${interfaceName})`,
      'before-guard',
      passed,
      packets,
      row.refused ? refusedText(row.refused, packetsBeforeGuard) : window,
      '',
      row.nodeName,
      seq,
    ];
  }
  const { violation, refused } = row;
  return [
    clockTime(violation.lastSeenAt, nowMs),
    violation.pod ? podName(violation.pod) : `? (${violation.interfaceName || 'lsm'})`,
    violation.vector,
    refused ? refusal(refused) : outcomeOf(violation),
    refused ? '-' : String(row.packets),
    refused ? refusedText(refused, violation.count + violation.suppressed) : claimOf(violation),
    refused ? `says ${row.nodeName}` : destinationOf(violation),
    row.nodeName,
    seq,
  ];
}
