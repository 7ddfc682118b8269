/**
 * Status that a collector publishes under `bailiff_nodes/<node>`: coverage of its interfaces with
 * reasons, policies, features, and losses.
 */
import * as z from 'zod';
import { refusedConfig } from './instance-status.ts';
import { list, record, text } from './limited.ts';

export const interfaceStatus = z.object({
  interfaceName: text('word'),
  ifindex: z.number().int(),
  generation: z.number().int(),
  coverage: z.enum(['guarded', 'partial', 'not-covered', 'not-applicable']),
  /** Why it is not fully guarded; empty if it is. */
  reason: text('reason'),
  state: z.enum(['unknown', 'provisional', 'programmed']),
  podUid: text('uid'),
  podNamespace: text('name'),
  podName: text('name'),
  addresses: list('addresses', text('word')),
  mac: text('word'),
  packetsBeforeGuard: z.number(),
  /** Frames that passed its programs unseen since they were attached. Absent from older versions. */
  unjudgedFrames: z.number().optional(),
  /** Of these, within the last hour. Absent in the collector's first hour, and from older versions. */
  recentUnjudgedFrames: z.number().optional(),
  /** Why frames that pass unseen are not found: its frames are not compared. Absent: they are. */
  notCompared: text('reason').optional(),
  /** Frames that its pod received past the guard. Absent: none, as far as is known. */
  pastGuardFrames: z.number().optional(),
  /** Its pod has ended; `podUid` is the former one. Absent: it has not, as far as is known. */
  orphaned: z.boolean().optional(),
  /** Links of its pod with a part in the node's network, which no guard judges. Absent: none found. */
  foreignLinks: list('listed', text('sentence')).optional(),
  /** Also of a pod without a guard, whose traffic passes. */
  quarantinedUntil: text('word').nullable(),
});
export type InterfaceStatus = z.infer<typeof interfaceStatus>;

/** State of a runtime policy on this node. In force without subjects: it selects no pod here. */
export const runtimePolicyStatus = z.object({
  key: text('key'),
  /** Of the newest received value, refused or not. */
  revision: z.number(),
  state: z.enum(['in-force', 'refused']),
  /** Why it is refused here; empty if it is in force. */
  reason: text('reason'),
  /** Pods and containers that it applies to. */
  subjects: z.number(),
});
export type RuntimePolicyStatus = z.infer<typeof runtimePolicyStatus>;

/** A pod or container whose new policy set is refused; the previous one stays in force. */
export const refusedSubject = z.object({
  podUid: text('uid'),
  /** null: the pod, except containers with a set of their own. */
  container: text('name').nullable(),
  reason: text('reason'),
});

export const runtimeStatus = z.object({
  /** unsupported: containers cannot be distinguished (cgroup v1); off: not enabled. */
  state: z.enum(['available', 'unavailable', 'unsupported', 'off']),
  reason: text('reason'),
  remedy: text('reason'),
  /** Hooks that this kernel lacks: their operations are not checked. */
  missingHooks: list('listed', text('word')),
  /** Why each open is decided by the rules again; empty: decisions are cached. Absent from older versions. */
  openCacheProblem: text('reason').optional(),
  policies: list('listed', runtimePolicyStatus),
  /** Policies beyond the size limit of the message. */
  policiesOmitted: z.number(),
  /** Every other pod of the node's list has its policy sets. Absent from older versions. */
  refusedSubjects: list('listed', refusedSubject).optional(),
  /** Refused subjects beyond the size limit of the message. */
  refusedSubjectsOmitted: z.number().optional(),
  /** Pods and containers with a policy set, and the number of sets. */
  subjects: z.number(),
  sets: z.number(),
  losses: record('listed', text('word'), z.number()),
  maps: list('listed', z.object({ name: text('word'), used: z.number(), capacity: z.number() })),
});
export type RuntimeStatus = z.infer<typeof runtimeStatus>;

/** The chained CNI plugin on this node. */
export const cniStatus = z.object({
  /**
   * off: not enabled. not-installed: the runtime does not call it. not-served: it is called, but the
   * collector has no socket for it.
   */
  state: z.enum(['off', 'not-installed', 'not-served', 'installed']),
  failurePolicy: z.enum(['open', 'closed']),
  /** Last problem of the plugin, its installation or one of its calls; empty if there was none. */
  problem: text('reason'),
  problemAt: text('word').nullable(),
  /** Pods that started without a guard since the node started, and the last one with its reason. */
  passed: z.number(),
  lastPassed: text('reason'),
  /** When that pod started, by the node's clock. Absent from older versions, and without one. */
  passedAt: text('word').optional(),
});
export type CniStatus = z.infer<typeof cniStatus>;

export const nodeStatus = z.object({
  nodeName: text('name'),
  bootId: text('uid'),
  collectorVersion: text('uid'),
  updatedAt: text('word'),
  startedAt: text('word'),
  hook: z.enum(['tcx', 'clsact', 'none']),
  features: list(
    'listed',
    z.object({ name: text('word'), available: z.boolean(), reason: text('reason'), remedy: text('reason') }),
  ),
  interfaces: list('interfaces', interfaceStatus),
  /** Interfaces beyond the size limit of the message, by coverage; absent if none. */
  interfacesOmitted: z
    .object({
      guarded: z.number().int(),
      partial: z.number().int(),
      'not-covered': z.number().int(),
      'not-applicable': z.number().int(),
    })
    .optional(),
  /** Revision of the snapshot in force, and why a newer one was refused; empty if none was. */
  snapshotRevision: z.number(),
  snapshotRefused: text('reason'),
  /**
   * Bucket revision of the newest applied or refused spoof policy. 0: none, or not by this process.
   * Absent from older versions.
   */
  spoofRevision: z.number().optional(),
  /**
   * The node has no spoof policy of the cluster, and audits every vector until it has one. Absent otherwise, and
   * from older versions.
   */
  initialMode: z.literal('audit').optional(),
  configRefused: list('listed', refusedConfig),
  disarmedUntil: text('word').nullable(),
  /**
   * Namespaces with a disarm that this node has, also without a pod here; those that end last come first. Absent
   * from older versions.
   */
  disarmedNamespaces: list('listed', z.object({ namespace: text('name'), disarmedUntil: text('word') })).optional(),
  /** Further ones. Absent: none. */
  disarmedNamespacesOmitted: z.number().int().optional(),
  /**
   * Pods of the quarantine list that are gone: not in the pod list, and without an interface. The
   * responder may remove their entries. Absent from older versions.
   */
  quarantinesGone: list('quarantined', text('uid')).optional(),
  /**
   * Pods with an interface or a cgroup that the pod list omits, or lists as ended. ipam-sync lists
   * former pods of the node as long as they are here. Absent from older versions.
   */
  unlistedPods: list('quarantined', text('uid')).optional(),
  /** Absent from versions without runtime policies. */
  runtime: runtimeStatus.optional(),
  /** Absent from versions without the CNI plugin. */
  cni: cniStatus.optional(),
  maps: list('listed', z.object({ name: text('word'), used: z.number(), capacity: z.number() })),
  losses: z.object({ ringFull: z.number(), noCounter: z.number(), noIface: z.number() }),
  /**
   * Losses of the packet programs, and as `runtime-<loss>` of the runtime programs, within the last
   * hour: those that grew. Absent in the collector's first hour, and from older versions.
   */
  recentLosses: record('listed', text('word'), z.number()).optional(),
  bus: z.object({
    connected: z.boolean(),
    unackedFrames: z.number(),
    publishedFrames: z.number(),
    resentFrames: z.number(),
    /** How long the oldest unacknowledged frame waits, and why. Absent without any, and from older versions. */
    unackedForMs: z.number().optional(),
    unackedReason: text('reason').optional(),
    /** For how long no read has confirmed the node's lists and policies, and why. Absent if they are confirmed. */
    unconfirmedForMs: z.number().optional(),
    unconfirmedReason: text('reason').optional(),
    /** Its collector logs in by a token, which a bus-auth has to admit. */
    byToken: z.literal(true).optional(),
  }),
});
export type NodeStatus = z.infer<typeof nodeStatus>;

/** UIDs in one field of a status, whatever its other fields are; none if it is absent or invalid. */
export function uidsOfStatus(json: string, field: 'quarantinesGone' | 'unlistedPods'): readonly string[] {
  try {
    const value = (JSON.parse(json) as Record<string, unknown> | null)?.[field];
    return nodeStatus.shape[field].safeParse(value).data ?? [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}
