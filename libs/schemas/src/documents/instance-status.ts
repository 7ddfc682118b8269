/**
 * Status that an instance of correlator, responder, ipam-sync or siem-relay publishes under `bailiff_services/<service>.<instance>`: plain JSON,
 * renewed every INSTANCE_STATUS_MS, and at once when its readiness or its configuration changes. The last one of an orderly end carries `stoppedAt`, so
 * that the position outlives the instance. A collector publishes the same in its node's status.
 */
import * as z from 'zod';
import { list, text } from './limited.ts';

/** A configuration whose newest value is not in force here: the last good one, or what is built in, holds. */
export const refusedConfig = z.object({ key: text('reason'), reason: text('reason') });
export type RefusedConfig = z.infer<typeof refusedConfig>;

/** Nodes that no collector guards, as the ipam-sync that leads taints them. */
export const taintStatus = z.object({
  /** Names of those that have the taint, the first of `taintedCount`. */
  tainted: list('listed', text('name')),
  taintedCount: z.number().int().nonnegative(),
  /** Of those that should have it and have not, because too many are unguarded at once. */
  withheld: list('listed', text('name')),
  withheldCount: z.number().int().nonnegative(),
  /** Why not all is as it should be, and what to do; empty when it is. */
  problem: text('reason'),
  remedy: text('reason'),
});
export type TaintStatus = z.infer<typeof taintStatus>;

/** How far an instance has come with the work that one stream gives it. */
export const instanceProgress = z.object({
  /** The stream that it reads. Of an ipam-sync: the one that it writes. */
  stream: text('word'),
  /** Newest sequence that it has handled; 0 before the first. */
  sequence: z.number().int().nonnegative(),
  /** When the bus stored that message; empty when that is not known. */
  storedAt: text('word'),
  /** Messages, or for an ipam-sync lists, that waited behind it at this status. */
  behind: z.number().int().nonnegative(),
  /** How long they have waited without one being handled; 0 while it progresses. */
  stalledMs: z.number().int().nonnegative(),
});
export type InstanceProgress = z.infer<typeof instanceProgress>;

export const instanceStatus = z.object({
  service: text('word'),
  /** Of this process: unlike that of any other. */
  instance: text('uid'),
  version: text('uid'),
  startedAt: text('word'),
  updatedAt: text('word'),
  /** Newest sequence of CONFIG_LOG that it has taken; 0 before the first, and of who does not read the log. */
  configRevision: z.number().int().nonnegative(),
  configRefused: list('listed', refusedConfig),
  /** Whether its readiness checks pass, since when, and which of them fails. Absent in a status of an older version. */
  ready: z.object({ ok: z.boolean(), since: text('word'), reason: text('reason') }).optional(),
  /** One entry per stream. Absent in a status of an older version, and of an ipam-sync that does not lead. */
  progress: list('listed', instanceProgress).optional(),
  /** Of an ipam-sync: whether it holds the lease. */
  leads: z.boolean().optional(),
  /** It ended in order at this time. */
  stoppedAt: text('word').optional(),
  /** Absent: of who does not lead or is no ipam-sync, and while nothing is tainted or to be. */
  taints: taintStatus.optional(),
});
export type InstanceStatus = z.infer<typeof instanceStatus>;

export const INSTANCE_STATUS_MS = 10_000;

/** Refused configuration keys named at most in one status. */
export const MAX_REFUSED_KEYS = 64;
/** Longest reason: enough for the first issues of a document. */
export const MAX_REASON_CHARS = 1_000;

export const clipReason = (text: string): string =>
  text.length <= MAX_REASON_CHARS ? text : `${text.slice(0, MAX_REASON_CHARS)}...`;

/** Refused keys with their reasons, as many as a status has room for; the last one tells how many more there are. Pure. */
export function fitRefused(refused: Iterable<readonly [key: string, reason: string]>): RefusedConfig[] {
  const all = [...refused].map(([key, reason]) => ({ key: clipReason(key), reason: clipReason(reason) }));
  if (all.length <= MAX_REFUSED_KEYS) return all;
  const kept = all.slice(0, MAX_REFUSED_KEYS);
  return [...kept, { key: '...', reason: `${all.length - kept.length} more keys were refused` }];
}
