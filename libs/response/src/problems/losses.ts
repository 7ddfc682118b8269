/**
 * Problems for records that the kernel programs of a node lost. The counters never shrink, so a
 * warning covers the last hour and then ends. Pure.
 */
import type { NodeStatus } from '@bailiff/schemas';
import { plural } from '../status/text.ts';
import { notEnforced, type Problem, warn } from './problem.ts';

/** The loss of the last hour, or the total if the status has no recent losses. */
export const recentLoss = ({ recentLosses }: NodeStatus, name: string, total: number): number =>
  recentLosses ? (recentLosses[name] ?? 0) : total;

export const lossPeriod = ({ recentLosses }: NodeStatus): string =>
  recentLosses ? 'in the last hour' : 'since the programs were loaded';

export const recentPacketLosses = (status: NodeStatus): NodeStatus['losses'] => ({
  ringFull: recentLoss(status, 'ring-full', status.losses.ringFull),
  noCounter: recentLoss(status, 'no-counter', status.losses.noCounter),
  noIface: recentLoss(status, 'no-iface', status.losses.noIface),
});

export function packetLossProblems(node: string, status: NodeStatus): Problem[] {
  const { ringFull, noCounter, noIface } = recentPacketLosses(status);
  const period = lossPeriod(status);
  const problems: Problem[] = [];
  if (noCounter > 0) {
    const text = `${plural(noCounter, 'packet was', 'packets were')} judged but not counted ${period}`;
    problems.push(warn(node, text));
  }
  if (noIface > 0) {
    const text = `${plural(noIface, 'packet')} came from interfaces without a record ${period}: passed unjudged, unless \`unknown\` is enforce`;
    problems.push(notEnforced(node, text, 'docs/alerts.md, BailiffKernelLosses', 'nodes'));
  }
  if (ringFull > 0) {
    const text = `${plural(ringFull, 'sample was', 'samples were')} lost to a full ring ${period}; counts are exact`;
    problems.push(warn(node, text));
  }
  return problems;
}
