/**
 * Builds the node's status: coverage of each interface with its reason, use of the maps, losses.
 * Pure. The collector publishes it on the bus.
 */
import type { Probe, SpoofMaps } from '@bailiff/bpf';
import {
  type CniStatus,
  clipReason,
  fitRefused,
  type InterfaceStatus,
  LIST_LIMITS,
  type NodeStatus,
  type RuntimeStatus,
} from '@bailiff/schemas';
import type { DesiredState, Moment } from '../desired/desired-state.ts';
import { type CniRecord, whyNoHostSide } from '../identity/cni-record.ts';
import { isPrimary, NOT_OWN_MAC } from '../identity/identity.ts';
import { unjudgedOf } from '../packets/counting/conservation.ts';
import { BEHIND_TCX } from '../packets/subjects/attachments.ts';
import { foreignReason } from '../packets/subjects/foreign-links.ts';
import { type GuardedInterface, isDroppedOrphan } from '../packets/subjects/guarded-interface.ts';
import type { Registry } from '../packets/subjects/registry.ts';
import { fitDisarms, fitInterfaces } from './status-limits.ts';

export interface StatusInput {
  nodeName: string;
  bootId: string;
  version: string;
  startedAtMs: number;
  hook: NodeStatus['hook'];
  probes: readonly Probe[];
  registry: Registry;
  /** Generations with a program at the pod's end; null: none is expected. */
  podEnds: ReadonlySet<number> | null;
  /** Whether frames that a pod redirects past its guard on netkit are dropped. */
  redirected: boolean;
  /** Monotonic. */
  nowMs: number;
  cniRecords: readonly CniRecord[];
  desired: DesiredState;
  runtime: RuntimeStatus;
  cni: CniStatus;
  quarantinesGone: readonly string[];
  unlistedPods: readonly string[];
  /** Listed pods that have ended here, or whose interface was removed a moment ago. */
  endedPods: ReadonlySet<string>;
  maps: SpoofMaps;
  moment: Moment;
  bus: NodeStatus['bus'];
  spoofRevision: number;
  /** What grew within the last hour: losses, and unjudged frames by unjudgedKey; null: not known. */
  recent: Readonly<Record<string, number>> | null;
}

const UNJUDGED = 'unjudged/';
const unjudgedKey = ({ generation }: GuardedInterface): string => `${UNJUDGED}${generation}`;

/** Unjudged frames by interface, as StatusInput.recent names them. */
export const unjudgedCounts = (registry: Registry): Record<string, number> =>
  Object.fromEntries([...registry.allLive()].map((iface) => [unjudgedKey(iface), unjudgedOf(iface.occurrences)]));

/** bailiff-pod-ends finds a new interface within less. */
const POD_END_GRACE_MS = 10_000;
const NO_POD_END =
  "frames that its pod marks to skip the guard are not dropped: no program at the pod's end (see the log of bailiff-pod-ends)";
const NO_REDIRECTED =
  'a pod with CAP_BPF and CAP_NET_ADMIN can send frames past its guard (bpf_redirect_peer): see the feature netkit-redirect';

const UNREAD_LINKS = 'its pod has so many links that not all are compared with those of the node';

function orphanedReason(iface: GuardedInterface): string {
  const { binding } = iface;
  const isDropped = isDroppedOrphan(iface);
  const why = binding && !isPrimary(binding) ? 'its pod has ended or left the network' : 'its pod has ended';
  return `${why}, and what it sends ${isDropped ? 'is dropped' : 'violates orphaned, in a mode that does not drop'}`;
}

/** @param openWay how its pod can send frames past the guard; empty: it cannot */
export function coverageOf(
  iface: GuardedInterface,
  openWay = '',
): { coverage: InterfaceStatus['coverage']; reason: string } {
  if (iface.attachError !== '') return { coverage: 'not-covered', reason: iface.attachError };
  const reason = whyPartial(iface) || openWay;
  return { coverage: reason === '' ? 'guarded' : 'partial', reason };
}

/** Empty: its packets are judged by its whole identity. */
function whyPartial(iface: GuardedInterface): string {
  if (iface.applyError) return iface.applyError;
  if (iface.isBehind) return BEHIND_TCX;
  if (iface.orphaned) return orphanedReason(iface);
  if (iface.foreignLinks.length > 0) return foreignReason(iface.foreignLinks);
  if (!iface.binding) {
    const state = iface.kernel?.record.state ?? 'unknown';
    const judged = state === 'unknown' ? 'judged as unknown' : 'judged by the entries of an earlier process';
    const { unlistedPod = '' } = iface;
    const found =
      unlistedPod === '' ? 'no pod found for it' : `its namespace is of pod ${unlistedPod}, which no list contains`;
    return `${found}: ${judged}`;
  }
  if (iface.binding.mac === '') return 'its MAC is not known: source-mac is not judged';
  if (iface.kernel?.record.mac === NOT_OWN_MAC) return 'another interface has its MAC: no frame counts as its own';
  if (iface.macStanding === 'shared') return 'another pod has its MAC too, and each may send from it';
  if (iface.reusedAddresses.length > 0)
    return `a newer interface has its addresses, so its pod has ended: ${iface.reusedAddresses.join(', ')}`;
  if (iface.sharedAddresses.length > 0)
    return `another pod has its addresses too, and each may send from them: ${iface.sharedAddresses.join(', ')}`;
  if (iface.takenGrants.length > 0)
    return `not granted, because another interface has it: ${iface.takenGrants.join(', ')}`;
  if (iface.omitted > 0) return `${iface.omitted} addresses, prefixes or probe ports did not fit`;
  return iface.hasUnreadLinks ? UNREAD_LINKS : '';
}

/** Live interfaces by state, for the metric. */
export function countByState(registry: Registry): Record<string, number> {
  const counts: Record<string, number> = { unknown: 0, provisional: 0, programmed: 0 };
  for (const iface of registry.allLive()) {
    const state = iface.kernel?.record.state ?? 'unknown';
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}

function interfaceStatus(iface: GuardedInterface, input: StatusInput): InterfaceStatus {
  const { moment, recent } = input;
  const record = iface.kernel?.record;
  const until = record?.quarantineUntilNs ?? 0n;
  return {
    interfaceName: iface.link.name,
    ifindex: iface.ifindex,
    generation: iface.generation,
    ...coverageOf(iface, openWayOf(iface, input)),
    state: record?.state ?? 'unknown',
    podUid: iface.pod?.uid ?? '',
    podNamespace: iface.pod?.namespace ?? '',
    podName: iface.pod?.name ?? '',
    addresses: [
      record?.ipv4,
      record?.ipv6,
      ...(iface.kernel?.grants.filter((g) => g.neighbour).map((g) => g.cidr) ?? []),
    ].filter((a): a is string => typeof a === 'string'),
    mac: record?.mac ?? '',
    packetsBeforeGuard: Math.max(0, iface.packetsBeforeGuard),
    unjudgedFrames: unjudgedOf(iface.occurrences),
    ...(recent ? { recentUnjudgedFrames: recent[unjudgedKey(iface)] ?? 0 } : {}),
    ...(iface.notCompared === '' ? {} : { notCompared: iface.notCompared }),
    ...(iface.pastGuardFrames > 0 ? { pastGuardFrames: iface.pastGuardFrames } : {}),
    ...(iface.orphaned ? { orphaned: true } : {}),
    ...(iface.foreignLinks.length > 0 ? { foreignLinks: iface.foreignLinks } : {}),
    quarantinedUntil: quarantineEnd(until, moment),
  };
}

const quarantineEnd = (untilNs: bigint, moment: Moment): string | null =>
  untilNs > moment.bootNs ? isoOf(untilNs, moment) : null;

function openWayOf({ appearedAtMs, generation, link }: GuardedInterface, input: StatusInput): string {
  const { nowMs, podEnds, redirected } = input;
  if (link.kind === 'netkit') return redirected ? '' : NO_REDIRECTED;
  if (podEnds === null || link.kind !== 'veth' || nowMs - appearedAtMs < POD_END_GRACE_MS) return '';
  return podEnds.has(generation) ? '' : NO_POD_END;
}

/** An interface that has no programs; the caller adds what is known of it. */
function notGuarded(coverage: InterfaceStatus['coverage'], reason: string): InterfaceStatus {
  return {
    interfaceName: '',
    ifindex: 0,
    generation: 0,
    coverage,
    reason,
    state: 'unknown' as const,
    podUid: '',
    podNamespace: '',
    podName: '',
    addresses: [],
    mac: '',
    packetsBeforeGuard: 0,
    quarantinedUntil: null,
  };
}

/** An end beyond the calendar is shown as its last day. */
function isoOf(untilNs: bigint, moment: Moment): string {
  const ms = moment.wallMs + Number((untilNs - moment.bootNs) / 1_000_000n);
  return new Date(Math.min(ms, Date.UTC(9999, 11, 31))).toISOString();
}

export function nodeStatus(input: StatusInput): NodeStatus {
  const { registry, desired, maps, moment } = input;
  const losses = maps.losses();
  const others: InterfaceStatus[] = [...registry.others].map(([ifindex, other]) => ({
    ...notGuarded(other.coverage, other.reason),
    interfaceName: other.name,
    ifindex,
  }));
  const listed = withoutHostSide(input);
  return {
    nodeName: input.nodeName,
    bootId: input.bootId,
    collectorVersion: input.version,
    updatedAt: new Date(moment.wallMs).toISOString(),
    startedAt: new Date(input.startedAtMs).toISOString(),
    hook: input.hook,
    features: input.probes.map((probe) => ({
      name: probe.feature,
      available: probe.available,
      reason: probe.errnoName ?? '',
      remedy: probe.hint ?? '',
    })),
    ...fitInterfaces([
      ...[...registry.allLive()].map((iface) => interfaceStatus(iface, input)),
      ...others,
      ...listed,
      ...podsWithout(input, listed),
    ]),
    snapshotRevision: desired.snapshotRevision,
    snapshotRefused: clipReason(desired.snapshotRefused),
    spoofRevision: input.spoofRevision,
    ...(desired.auditsInitially ? { initialMode: 'audit' as const } : {}),
    configRefused: fitRefused(desired.configRefused),
    disarmedUntil: desired.disarmedUntil(moment),
    ...fitDisarms(desired.disarmedNamespaces(moment)),
    quarantinesGone: [...input.quarantinesGone],
    unlistedPods: [...input.unlistedPods],
    runtime: input.runtime,
    cni: { ...input.cni, problem: clipReason(input.cni.problem), lastPassed: clipReason(input.cni.lastPassed) },
    maps: Object.entries(maps.fill()).map(([name, { entries, maxEntries }]) => ({
      name,
      used: entries,
      capacity: maxEntries,
    })),
    losses: {
      ringFull: Number(losses['ring-full']),
      noCounter: Number(losses['no-counter']),
      noIface: Number(losses['no-iface']),
    },
    ...(input.recent ? { recentLosses: recentLosses(input.recent) } : {}),
    bus: input.bus,
  };
}

const recentLosses = (recent: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(recent).filter(([name]) => !name.startsWith(UNJUDGED)));

/** Interfaces of the snapshot's pods that have no host side, by their CNI records. */
function withoutHostSide({ cniRecords, desired, moment }: StatusInput): InterfaceStatus[] {
  const result: InterfaceStatus[] = [];
  for (const record of cniRecords) {
    const why = whyNoHostSide(record);
    if (why === null || !desired.pods.has(record.podUid)) continue;
    result.push({
      ...notGuarded('not-covered', `${record.ifName} is of kind ${record.plugin}: ${why}`),
      podUid: record.podUid,
      podNamespace: record.podNamespace,
      podName: record.podName,
      // A pod chooses how many (`ips` of Multus), and readers refuse a status with a longer list.
      addresses: record.addresses.slice(0, LIST_LIMITS.addresses.items),
      mac: record.podMac,
      quarantinedUntil: quarantineEnd(desired.quarantineUntilNs(record.podUid, moment), moment),
    });
  }
  return result;
}

/**
 * Host sides that CNI records name and the node no longer has, by UID of the pod: one with CAP_NET_ADMIN
 * can delete its interface. Beside it, a record of the bridge plugin names the bridge.
 */
function removedInterfaces({ cniRecords, registry }: StatusInput): Map<string, string> {
  const kinds = new Map([...registry.others.values()].map(({ name, kind = '' }) => [name, kind]));
  for (const { link } of registry.allLive()) kinds.set(link.name, link.kind);
  const byPod = new Map<string, string>();
  for (const { podUid, hostInterfaces } of cniRecords) {
    const removed = hostInterfaces.find((name) => !kinds.has(name));
    if (removed === undefined || hostInterfaces.some((name) => (kinds.get(name) ?? 'bridge') !== 'bridge')) continue;
    byPod.set(podUid, removed);
  }
  return byPod;
}

/** @param removed its host side; undefined: not known */
function withoutInterface(removed: string | undefined): InterfaceStatus {
  if (removed === undefined) return notGuarded('not-covered', 'no interface of it was found on this node');
  return notGuarded('partial', `its interface ${removed} was removed. If its pod made other links, no guard sees them`);
}

/**
 * Pods of the snapshot without a guarded interface: on the host's network, or without a known
 * interface.
 */
function podsWithout(input: StatusInput, listed: readonly InterfaceStatus[]): InterfaceStatus[] {
  const live = [...input.registry.allLive()].map(({ binding }) => binding);
  const bound = new Set([...live, ...listed].map((one) => one?.podUid));
  const present = new Set(input.unlistedPods);
  const removed = removedInterfaces(input);
  const result: InterfaceStatus[] = [];
  for (const pod of input.desired.pods.values()) {
    if (bound.has(pod.uid) || input.endedPods.has(pod.uid)) continue;
    // Its object was removed by force, and its containers have ended: it stays listed for minutes.
    if (pod.ended && !present.has(pod.uid)) continue;
    const inForce = pod.interfaces.flatMap((i) => i.addresses);
    // Those of a list that is refused are not in force.
    const addresses = inForce.length > 0 ? inForce : input.desired.newestAddressesOf(pod.uid);
    if (!pod.hostNetwork && addresses.length === 0) continue; // not started yet
    result.push({
      ...(pod.hostNetwork
        ? notGuarded('not-applicable', "on the host's network")
        : withoutInterface(removed.get(pod.uid))),
      podUid: pod.uid,
      podNamespace: pod.namespace,
      podName: pod.name,
      addresses,
      quarantinedUntil: quarantineEnd(input.desired.quarantineUntilNs(pod.uid, input.moment), input.moment),
    });
  }
  return result;
}
