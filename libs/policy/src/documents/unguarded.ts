/**
 * What happens to nodes that no collector guards: part of the cluster's spoof policy, carried out by ipam-sync. Off unless the operator says
 * otherwise, because a taint keeps every new pod off a node.
 */
import * as z from 'zod';
import { duration, labels } from './units.ts';

/** Of the taint that ipam-sync puts, and of no other that it touches. */
export const UNGUARDED_TAINT_KEY = 'bailiff.dev/unguarded';
/** NoExecute is none of them: pods that are there stay guarded by the pinned programs, and evicting them would only move them. */
export const UNGUARDED_TAINTS = ['off', 'NoSchedule'] as const;

const DEFAULTS = {
  taint: 'off',
  after: '2m',
  maxPercent: 10,
  nodeLabels: { 'kubernetes.io/os': 'linux' },
} as const;

export const unguardedNodes = z
  .strictObject({
    taint: z
      .enum(UNGUARDED_TAINTS)
      .default(DEFAULTS.taint)
      .describe(
        `NoSchedule: a node that no collector guards has the taint ${UNGUARDED_TAINT_KEY} until one does; off: nothing is tainted, and what was is no more`,
      ),
    // Not below what `bailiff status` calls silent: six times the interval of a node's status.
    after: duration(60_000, 24 * 3_600_000)
      .default(DEFAULTS.after)
      .describe("how long a node's collector has said nothing: 1m to 24h"),
    maxPercent: z
      .number()
      .int()
      .min(1)
      .max(50)
      .default(DEFAULTS.maxPercent)
      .describe(
        'share of the nodes that may be tainted, in per cent, rounded up, and never the last one; when more are unguarded none further is tainted, because then it is the bus or the feed',
      ),
    nodeLabels: labels()
      .default(DEFAULTS.nodeLabels)
      .describe('nodes with all these labels, which are those on which collectors run; others are never tainted'),
  })
  .default({ ...DEFAULTS })
  .describe('nodes whose collector is down do not guard new pods: whether ipam-sync taints them');

export type UnguardedNodes = z.infer<typeof unguardedNodes>;
