/**
 * Taints of nodes without a collector: part of the cluster's spoof policy, carried out by
 * ipam-sync. Off by default, because a taint keeps every new pod off a node.
 */
import * as z from 'zod';
import { duration, labels, whole } from './units.ts';

/** Key of the taint that ipam-sync adds. It changes no other taint. */
export const UNGUARDED_TAINT_KEY = 'bailiff.dev/unguarded';
/**
 * NoExecute is not offered: running pods stay guarded by the pinned programs, and an eviction would
 * only move them.
 */
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
        `NoSchedule: a node that no collector guards gets the taint ${UNGUARDED_TAINT_KEY} until one does; off: no node is tainted, and existing taints are removed`,
      ),
    // Not below the limit of a silent node in `bailiff status`: six times the interval of a node's
    // status.
    after: duration(60_000, 24 * 3_600_000)
      .default(DEFAULTS.after)
      .describe("how long a node's collector has been silent: 1m to 24h"),
    maxPercent: whole(1, 50)
      .default(DEFAULTS.maxPercent)
      .describe(
        'share of the nodes that may be tainted, in per cent, rounded up, and never the last one; if more are unguarded, no further node is tainted, because the bus or the feed is the likely cause',
      ),
    nodeLabels: labels()
      .default(DEFAULTS.nodeLabels)
      .describe('nodes with all these labels, on which collectors run; other nodes are never tainted'),
  })
  .default({ ...DEFAULTS })
  .describe('whether ipam-sync taints nodes whose collector is down, which do not guard new pods');

export type UnguardedNodes = z.infer<typeof unguardedNodes>;
