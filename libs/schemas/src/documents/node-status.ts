/** What a collector puts under `bailiff_nodes/<node>`: what it guards, what it cannot and why, and how it is doing. */
import * as z from 'zod';
import { refusedConfig } from './instance-status.ts';
import { list, record, text } from './limited.ts';

export const interfaceStatus = z.object({
  interfaceName: text('word'),
  ifindex: z.number().int(),
  generation: z.number().int(),
  coverage: z.enum(['guarded', 'partial', 'not-covered', 'not-applicable']),
  /** Why it is not plainly guarded; empty when it is. */
  reason: text('reason'),
  state: z.enum(['unknown', 'provisional', 'programmed']),
  podUid: text('uid'),
  podNamespace: text('name'),
  podName: text('name'),
  addresses: list('addresses', text('word')),
  mac: text('word'),
  packetsBeforeGuard: z.number(),
  quarantinedUntil: text('word').nullable(),
});
export type InterfaceStatus = z.infer<typeof interfaceStatus>;

/** What became of a runtime policy on this node. In force with no subjects: no pod here is selected. */
export const runtimePolicyStatus = z.object({
  key: text('key'),
  /** Of the newest value that came, also when it was refused. */
  revision: z.number(),
  state: z.enum(['in-force', 'refused']),
  /** Why it is refused here; empty when it is in force. */
  reason: text('reason'),
  /** Pods and containers that it holds for. */
  subjects: z.number(),
});
export type RuntimePolicyStatus = z.infer<typeof runtimePolicyStatus>;

/** A pod or container for which what should hold cannot: it keeps what it had. */
export const refusedSubject = z.object({
  podUid: text('uid'),
  /** null: the pod, but for containers with a set of their own. */
  container: text('name').nullable(),
  reason: text('reason'),
});
export type RefusedSubject = z.infer<typeof refusedSubject>;

export const runtimeStatus = z.object({
  /** unsupported: containers cannot be told apart here (cgroup v1); off: it was not wanted. */
  state: z.enum(['available', 'unavailable', 'unsupported', 'off']),
  reason: text('reason'),
  remedy: text('reason'),
  /** Hooks that this kernel lacks: what they would judge is not judged. */
  missingHooks: list('listed', text('word')),
  policies: list('listed', runtimePolicyStatus),
  /** Policies that did not fit into the message. */
  policiesOmitted: z.number(),
  /** Every other pod of the node's list has what should hold. Absent: of a collector that does not tell. */
  refusedSubjects: list('listed', refusedSubject).optional(),
  /** Of those, how many did not fit into the message. */
  refusedSubjectsOmitted: z.number().optional(),
  /** Pods and containers that have a policy set, and how many sets there are. */
  subjects: z.number(),
  sets: z.number(),
  losses: record('listed', text('word'), z.number()),
  maps: list('listed', z.object({ name: text('word'), used: z.number(), capacity: z.number() })),
});
export type RuntimeStatus = z.infer<typeof runtimeStatus>;

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
  /** Interfaces that did not fit into the message, by coverage; absent when all are there. */
  interfacesOmitted: z
    .object({
      guarded: z.number().int(),
      partial: z.number().int(),
      'not-covered': z.number().int(),
      'not-applicable': z.number().int(),
    })
    .optional(),
  /** Revision of the snapshot in force, and why a newer one was refused; empty when none was. */
  snapshotRevision: z.number(),
  snapshotRefused: text('reason'),
  /** Of the bucket: the newest spoof policy that was taken or refused. Absent: of a collector that does not tell; 0: none, or not by this process. */
  spoofRevision: z.number().optional(),
  configRefused: list('listed', refusedConfig),
  disarmedUntil: text('word').nullable(),
  /** Absent: of a collector that knew no runtime policies. */
  runtime: runtimeStatus.optional(),
  maps: list('listed', z.object({ name: text('word'), used: z.number(), capacity: z.number() })),
  losses: z.object({ ringFull: z.number(), noCounter: z.number(), noIface: z.number() }),
  bus: z.object({
    connected: z.boolean(),
    unackedFrames: z.number(),
    publishedFrames: z.number(),
    resentFrames: z.number(),
  }),
});
export type NodeStatus = z.infer<typeof nodeStatus>;
