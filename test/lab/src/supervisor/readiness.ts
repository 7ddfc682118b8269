/**
 * Readiness of a lab: every desired pod runs and answers, ipam-sync has published every node's
 * pods, and every collector guards every pod interface with a confirmed identity (or, unguarded,
 * only runs). Decisions are pure.
 */
import { type Bus, encodeToken, openBucket } from '@bailiff/bus';
import { type NodeSnapshot, type NodeStatus, nodeSnapshot, nodeStatus } from '@bailiff/schemas';
import type { LabPlan } from '../plan.ts';
import type { LabPodInfo } from '../state/state.ts';
import { type Probe, until } from '../until.ts';

/** The first pod that a node's snapshot lacks or has incompletely; null without one. */
export function missingFromSnapshot(snapshot: NodeSnapshot | null, pods: readonly LabPodInfo[]): string | null {
  for (const pod of pods) {
    const known = snapshot?.pods.find((each) => each.uid === pod.uid);
    const addresses = known?.interfaces.flatMap((each) => each.addresses) ?? [];
    if (!pod.ips.every((ip) => addresses.includes(ip))) return `${pod.namespace}/${pod.name} is not in its snapshot`;
  }
  return null;
}

/** The first pod whose interface is not guarded with a confirmed identity; null without one. */
export function missingGuard(status: NodeStatus | null, pods: readonly LabPodInfo[]): string | null {
  for (const pod of pods) {
    const iface = status?.interfaces.find(
      (each) => each.podUid === pod.uid && each.interfaceName === pod.hostInterface,
    );
    if (!iface) return `${pod.hostInterface} of ${pod.name} is not known to its collector`;
    if (iface.coverage !== 'guarded') return `${pod.hostInterface} of ${pod.name} is ${iface.coverage} ${iface.reason}`;
    if (iface.state !== 'programmed') return `${pod.hostInterface} of ${pod.name} is ${iface.state}`;
  }
  return null;
}

export interface ReadinessInput {
  bus: Bus;
  plan: LabPlan;
  pods: () => LabPodInfo[];
  guarded: boolean;
  /** Ignores status of collectors from an earlier run. */
  since: string;
  timeoutMs: number;
  signal?: AbortSignal;
}

async function read<T>(bus: Bus, bucket: string, key: string, parse: (value: unknown) => T): Promise<T | null> {
  const entry = await openBucket(bus, bucket).get(key);
  return entry ? parse(JSON.parse(entry.value.toString('utf8'))) : null;
}

async function nodeReady(input: ReadinessInput, name: string): Promise<Probe<true>> {
  const pods = input.pods().filter((pod) => pod.node === name);
  const token = encodeToken(name);
  const snapshot = await read(input.bus, 'bailiff_pods', token, (value) => nodeSnapshot.parse(value));
  const missing = missingFromSnapshot(snapshot, pods);
  if (missing) return { seen: missing };
  const status = await read(input.bus, 'bailiff_nodes', token, (value) => nodeStatus.parse(value));
  if (!status || status.startedAt < input.since) return { seen: `no status of ${name} yet` };
  const unguarded = input.guarded ? missingGuard(status, pods) : null;
  return unguarded ? { seen: unguarded } : { value: true };
}

/** Waits until every node is ready. @throws LabError LAB_NOT_READY with what is missing */
export async function awaitNodesReady(input: ReadinessInput): Promise<void> {
  for (const { name } of input.plan.nodes) {
    await until(`node ${name} to be ready`, () => nodeReady(input, name), {
      timeoutMs: input.timeoutMs,
      everyMs: 50,
      signal: input.signal,
    });
  }
}
