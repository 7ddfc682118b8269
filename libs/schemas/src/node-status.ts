/** What a collector puts under `bailiff_nodes/<node>`: what it guards, what it cannot and why, and how it is doing. */
import * as z from 'zod';
import { refusedConfig } from './instance-status.ts';

export const interfaceStatus = z.object({
  interfaceName: z.string(),
  ifindex: z.number().int(),
  generation: z.number().int(),
  coverage: z.enum(['guarded', 'partial', 'not-covered', 'not-applicable']),
  /** Why it is not plainly guarded; empty when it is. */
  reason: z.string(),
  state: z.enum(['unknown', 'provisional', 'programmed']),
  podUid: z.string(),
  podNamespace: z.string(),
  podName: z.string(),
  addresses: z.array(z.string()),
  mac: z.string(),
  packetsBeforeGuard: z.number(),
  quarantinedUntil: z.string().nullable(),
});
export type InterfaceStatus = z.infer<typeof interfaceStatus>;

/** What became of a runtime policy on this node. In force with no subjects: no pod here is selected. */
export const runtimePolicyStatus = z.object({
  key: z.string(),
  /** Of the newest value that came, also when it was refused. */
  revision: z.number(),
  state: z.enum(['in-force', 'refused']),
  /** Why it is refused here; empty when it is in force. */
  reason: z.string(),
  /** Pods and containers that it holds for. */
  subjects: z.number(),
});
export type RuntimePolicyStatus = z.infer<typeof runtimePolicyStatus>;

/** A pod or container for which what should hold cannot: it keeps what it had. */
export const refusedSubject = z.object({
  podUid: z.string(),
  /** null: the pod, but for containers with a set of their own. */
  container: z.string().nullable(),
  reason: z.string(),
});
export type RefusedSubject = z.infer<typeof refusedSubject>;

export const runtimeStatus = z.object({
  /** unsupported: containers cannot be told apart here (cgroup v1); off: it was not wanted. */
  state: z.enum(['available', 'unavailable', 'unsupported', 'off']),
  reason: z.string(),
  remedy: z.string(),
  /** Hooks that this kernel lacks: what they would judge is not judged. */
  missingHooks: z.array(z.string()),
  policies: z.array(runtimePolicyStatus),
  /** Policies that did not fit into the message. */
  policiesOmitted: z.number(),
  /** Every other pod of the node's list has what should hold. Absent: of a collector that does not tell. */
  refusedSubjects: z.array(refusedSubject).optional(),
  /** Of those, how many did not fit into the message. */
  refusedSubjectsOmitted: z.number().optional(),
  /** Pods and containers that have a policy set, and how many sets there are. */
  subjects: z.number(),
  sets: z.number(),
  losses: z.record(z.string(), z.number()),
  maps: z.array(z.object({ name: z.string(), used: z.number(), capacity: z.number() })),
});
export type RuntimeStatus = z.infer<typeof runtimeStatus>;

export const nodeStatus = z.object({
  nodeName: z.string(),
  bootId: z.string(),
  collectorVersion: z.string(),
  updatedAt: z.string(),
  startedAt: z.string(),
  hook: z.enum(['tcx', 'clsact', 'none']),
  features: z.array(z.object({ name: z.string(), available: z.boolean(), reason: z.string(), remedy: z.string() })),
  interfaces: z.array(interfaceStatus),
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
  snapshotRefused: z.string(),
  /** Of the bucket: the newest spoof policy that was taken or refused. Absent: of a collector that does not tell; 0: none, or not by this process. */
  spoofRevision: z.number().optional(),
  configRefused: z.array(refusedConfig),
  disarmedUntil: z.string().nullable(),
  /** Absent: of a collector that knew no runtime policies. */
  runtime: runtimeStatus.optional(),
  maps: z.array(z.object({ name: z.string(), used: z.number(), capacity: z.number() })),
  losses: z.object({ ringFull: z.number(), noCounter: z.number(), noIface: z.number() }),
  bus: z.object({
    connected: z.boolean(),
    unackedFrames: z.number(),
    publishedFrames: z.number(),
    resentFrames: z.number(),
  }),
});
export type NodeStatus = z.infer<typeof nodeStatus>;
