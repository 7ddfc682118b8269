/**
 * Status that an instance of correlator, responder, ipam-sync, siem-relay or evidence-log publishes as JSON under
 * `bailiff_services/<service>.<instance>`: every INSTANCE_STATUS_MS, and when its readiness or
 * configuration changes. The last one before an orderly stop has `stoppedAt`, so that the position
 * outlives the instance. A collector publishes the same in its node's status.
 */
import * as z from 'zod';
import { list, text } from './limited.ts';
import { omittedFrom } from './pods.ts';

/** A configuration key whose newest value is refused; the last valid or built-in one is in force. */
export const refusedConfig = z.object({ key: text('reason'), reason: text('reason') });
export type RefusedConfig = z.infer<typeof refusedConfig>;

/** Nodes without a collector, which the leading ipam-sync taints. */
export const taintStatus = z.object({
  /** The first names of the `taintedCount` nodes with the taint. */
  tainted: list('listed', text('name')),
  taintedCount: z.number().int().nonnegative(),
  /** Nodes that are not tainted because too many are unguarded at once. */
  withheld: list('listed', text('name')),
  withheldCount: z.number().int().nonnegative(),
  /** Why taints are missing, and what to do; empty without a problem. */
  problem: text('reason'),
  remedy: text('reason'),
});
export type TaintStatus = z.infer<typeof taintStatus>;

/** Pods that the lists of nodes omit. */
export const omittedPods = z.object({
  total: z.number().int().nonnegative(),
  /** Nodes with an incomplete list. */
  nodes: z.number().int().nonnegative(),
  /** The namespaces with most omitted pods. */
  namespaces: omittedFrom,
});

/** Pods whose program is not that of their controller's template: no confirmed members of it. */
export const claimedMembers = z.object({
  pods: z.number().int().nonnegative(),
  controllers: z.number().int().nonnegative(),
});

/** Progress of an instance in one stream. */
export const instanceProgress = z.object({
  /** The stream that it reads; for ipam-sync the one that it writes. */
  stream: text('word'),
  /** Newest handled sequence; 0 before the first. */
  sequence: z.number().int().nonnegative(),
  /** When the bus stored that message; empty if unknown. */
  storedAt: text('word'),
  /** Unhandled messages; for ipam-sync, unwritten lists. */
  behind: z.number().int().nonnegative(),
  /** Time since the last progress while messages wait; 0 while it progresses. */
  stalledMs: z.number().int().nonnegative(),
});
export type InstanceProgress = z.infer<typeof instanceProgress>;

/** Messages of a node that were skipped or refused in the last minutes. */
export const skippedMessages = z.object({
  /** Empty if their subject names no node. */
  node: text('name'),
  messages: z.number().int().nonnegative(),
  /** Of the newest one, as in dead letters; `over-share` has none. */
  reason: text('reason'),
  since: text('word'),
});
export type SkippedMessages = z.infer<typeof skippedMessages>;

/** Verdicts of the last minutes that were not published. */
export const missingVerdicts = z.object({ count: z.number().int().nonnegative(), since: text('word') });
export type MissingVerdicts = z.infer<typeof missingVerdicts>;

/** Connections of a node that bus-auth ended in the last minutes. */
export const endedConnections = z.object({
  /** Empty if it is not known whose login the connection had. */
  node: text('name'),
  connections: z.number().int().nonnegative(),
  /** Of the newest one, as in `bailiff_bus_auth_connections_ended_total`. */
  reason: text('word'),
  /** Address of its client. */
  host: text('word'),
  endedAt: text('word'),
  /** Until when logins of the node get no response; absent if they do. */
  keptOutUntil: text('word').optional(),
});
export type EndedConnections = z.infer<typeof endedConnections>;

/** An output of the siem-relay. Times are bus times. */
export const outputStatus = z.object({
  name: text('word'),
  /** Events that it has not read yet. */
  pending: z.number().int().nonnegative(),
  /** Age of the oldest event that is read but not delivered. */
  lagMs: z.number().int().nonnegative(),
  /** Since the start of the instance: delivered, refused for good, and deleted before they were read. */
  delivered: z.number().int().nonnegative(),
  refused: z.number().int().nonnegative(),
  lost: z.number().int().nonnegative(),
  /** When the last ones were found deleted. Absent without any, and from older versions. */
  lostAt: text('word').optional(),
  /** When SIEM stored the newest delivered event; empty before the first. */
  deliveredAt: text('word'),
  /** Why deliveries fail; absent while they succeed. */
  failing: z.object({ code: text('word'), reason: text('reason'), since: text('word') }).optional(),
});
export type OutputStatus = z.infer<typeof outputStatus>;

/** A witness of a log. */
export const witnessStatus = z.object({
  name: text('name'),
  /** Of the newest head that it cosigned; 0: none. */
  size: z.number().int().nonnegative(),
  /** When, by its own clock; empty: never. */
  cosignedAt: text('word'),
  /** Why it does not cosign; absent while it does. */
  failing: z.object({ code: text('word'), reason: text('reason'), since: text('word') }).optional(),
});

/** A certificate of a server that the instance uses. */
export const certificateEnd = z.object({
  what: text('word'),
  notAfter: text('word'),
  /** Absent from older versions. */
  notBefore: text('word').optional(),
});

/** The log of an evidence-log. */
export const logStatus = z.object({
  origin: text('name'),
  /** Of the key that signs now, as in its verifier key. */
  keyId: text('word'),
  /** Messages that the newest head covers. */
  size: z.number().int().nonnegative(),
  /** Age of the oldest message that no head covers. */
  lagMs: z.number().int().nonnegative(),
  /** Messages that a stream deleted before they were read, since the start of the instance. */
  missed: z.number().int().nonnegative(),
  /** Absent from older versions. */
  witnesses: list('listed', witnessStatus).optional(),
});
export type LogStatus = z.infer<typeof logStatus>;

export const instanceStatus = z.object({
  service: text('word'),
  /** Unique to this process. */
  instance: text('uid'),
  version: text('uid'),
  startedAt: text('word'),
  updatedAt: text('word'),
  /** Newest applied sequence of CONFIG_LOG; 0 before the first, and for services without it. */
  configRevision: z.number().int().nonnegative(),
  configRefused: list('listed', refusedConfig),
  /** Readiness, since when, and the failing check. Absent from older versions. */
  ready: z.object({ ok: z.boolean(), since: text('word'), reason: text('reason') }).optional(),
  /** One entry per stream. Absent from older versions, and from an ipam-sync that does not lead. */
  progress: list('listed', instanceProgress).optional(),
  /** ipam-sync only: whether it holds the lease. */
  leads: z.boolean().optional(),
  /** Time of an orderly stop. */
  stoppedAt: text('word').optional(),
  /** It stopped because of an error. Absent otherwise, and from older versions. */
  failed: z.boolean().optional(),
  /** Correlator only; absent from older versions, and without any. */
  skipped: list('listed', skippedMessages).optional(),
  /** Responder only: every response is a dry run, whatever the policies say. Absent otherwise, and from older versions. */
  dryRun: z.literal(true).optional(),
  /** Correlator only; absent from older versions, and without any. */
  missingVerdicts: missingVerdicts.optional(),
  /**
   * Responder only, after CONFIG_LOG was recreated: it plans verdicts that were stored before this
   * time by policies of the deleted log, which no other reader knows.
   */
  formerPoliciesUntil: text('word').optional(),
  /** Responder only: what its policies need and the API server does not permit. Absent without any. */
  missingRights: list('listed', text('word')).optional(),
  /** Responder only: bound of a pod's own grace period. Absent from older versions. */
  maxGraceSeconds: z.number().int().nonnegative().optional(),
  /** Responder only: of a Redis with TLS. Absent from older versions. */
  certificates: list('listed', certificateEnd).optional(),
  /** Leading ipam-sync only; absent while no node is or should be tainted. */
  taints: taintStatus.optional(),
  /** Leading ipam-sync only; absent while the lists of all nodes are complete. */
  omittedPods: omittedPods.optional(),
  /** siem-relay only; absent without any. */
  outputs: list('listed', outputStatus).optional(),
  /** evidence-log only. */
  log: logStatus.optional(),
  /** Leading ipam-sync only; absent without any. */
  claimedMembers: claimedMembers.optional(),
  /** bus-auth only. `watched` is false if the servers do not list the connections of nodes. */
  nodeConnections: z.object({ watched: z.boolean(), ended: list('listed', endedConnections) }).optional(),
});
export type InstanceStatus = z.infer<typeof instanceStatus>;

export const INSTANCE_STATUS_MS = 10_000;

/** Limit of refused configuration keys in a status. */
export const MAX_REFUSED_KEYS = 64;
/** Limit of a reason: enough for the first issues of a document. */
export const MAX_REASON_CHARS = 1_000;

export const clipReason = (text: string): string =>
  text.length <= MAX_REASON_CHARS ? text : `${text.slice(0, MAX_REASON_CHARS)}...`;

/** Key of the entry that counts the refused keys beyond the limit. */
export const OMITTED_KEYS = '...';

/** Refused keys with their reasons, up to the limit; the last one counts the rest. Pure. */
export function fitRefused(refused: Iterable<readonly [key: string, reason: string]>): RefusedConfig[] {
  const all = [...refused].map(([key, reason]) => ({ key: clipReason(key), reason: clipReason(reason) }));
  if (all.length <= MAX_REFUSED_KEYS) return all;
  const kept = all.slice(0, MAX_REFUSED_KEYS);
  return [...kept, { key: OMITTED_KEYS, reason: `${all.length - kept.length} more keys were refused` }];
}
