/**
 * Records of pods and nodes: the small part of each object that is kept, in one canonical form for
 * comparison. Pure. A pod without a node, or one that has ended, has no record and leaves the
 * snapshot of its node.
 *
 * Writers of pods choose labels, owner references, containers and probe ports, up to 1.5 MB. Values
 * above a limit are cut or dropped here and reported in `cut`, so that one pod cannot make the
 * snapshot of its node too large.
 */
import type { Container, Node, OwnerReference, Pod, ProbeHandler } from '@bailiff/kube';
import { cutEnd, isStaticUid, isTooLong, LIST_LIMITS, type PodIdentity, TEXT_LIMITS } from '@bailiff/schemas';
import { canonicalAddress, canonicalCidr } from './addresses.ts';
import { type GrantRequests, grantRequests } from './grants.ts';
import { programOf } from './program.ts';

export type Owner = PodIdentity['owners'][number];

/** Revision hash of a DaemonSet, revision name of a StatefulSet. */
const REVISION_LABEL = 'controller-revision-hash';

export interface PodRecord {
  uid: string;
  /** UID of the static pod of which this is the mirror, as its author says; absent: none. */
  staticUid?: string;
  namespace: string;
  name: string;
  nodeName: string;
  labels: Record<string, string>;
  serviceAccount: string;
  /** The controller named by the pod: a claim that owners.ts confirms. */
  owner: Owner | null;
  /** Revision label of a DaemonSet's or StatefulSet's pod; empty without one. */
  controllerRevision: string;
  /** Digest of the pod's program (program.ts); empty above the limit of parts. */
  program: string;
  /** Canonical. None for a host-network pod, because its addresses belong to the node. */
  addresses: string[];
  hostNetwork: boolean;
  containers: PodIdentity['containers'];
  requests: GrantRequests;
  probePorts: PodIdentity['probePorts'];
  createdAt: string;
  /** Deletion was requested; the pod may still run and send. */
  terminating: boolean;
  /** resourceVersion as a number. */
  revision: number;
  /** A value was above its limit. */
  cut: boolean;
}

/** Pods with a node that have not ended. The state has the record; a store of its own would keep all. */
export interface ListedPod {
  readonly uid: string;
  /** null: taken over by the state. */
  record: PodRecord | null;
}

/** Names and values of a pod's labels together: enough for a hundred ordinary labels. */
export const MAX_LABELS_BYTES = 8 * 1024;

export interface NodeRecord {
  name: string;
  addresses: string[];
  podCidrs: string[];
}

const NO_KEYS: ReadonlySet<string> = new Set();

/** Its value is the UID by which kubelet, runtime and CNI know the static pod. */
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
/**
 * Record of a pod; null if it has no node or has ended. @param selectedBy label names that policies
 * select by; they are never cut
 */
export function podRecord(pod: Pod, selectedBy: ReadonlySet<string> = NO_KEYS): PodRecord | null {
  const { metadata, spec = {}, status = {} } = pod;
  const ended = status.phase === 'Succeeded' || status.phase === 'Failed';
  if (!spec.nodeName || ended || !metadata.namespace) return null;
  const hostNetwork = spec.hostNetwork === true;
  const labels = limitedLabels(metadata.labels ?? {}, selectedBy);
  const controller = metadata.ownerReferences?.find((owner) => owner.controller === true);
  const owner = controllerOf(metadata.ownerReferences);
  const addresses = hostNetwork ? [] : podAddresses(status);
  const [containers, ports] = [podContainers(pod), probePorts(pod)];
  const most = LIST_LIMITS.containers.items;
  const cut =
    labels.cut ||
    (controller !== undefined && (owner?.name !== controller.name || owner.kind !== controller.kind)) ||
    [containers, ports, addresses].some((all) => all.length > most);
  const staticUid = metadata.annotations?.[MIRROR_ANNOTATION] ?? '';
  return {
    uid: metadata.uid,
    ...(isStaticUid(staticUid) ? { staticUid } : {}),
    namespace: metadata.namespace,
    name: metadata.name,
    nodeName: spec.nodeName,
    labels: labels.kept,
    serviceAccount: spec.serviceAccountName ?? 'default',
    owner,
    controllerRevision: metadata.labels?.[REVISION_LABEL] ?? '',
    program: programOf(spec as Record<string, unknown>, metadata.name) ?? '',
    addresses: addresses.slice(0, most),
    hostNetwork,
    containers: containers.slice(0, most),
    requests: grantRequests(metadata.annotations),
    probePorts: ports.slice(0, most),
    createdAt: metadata.creationTimestamp ?? '',
    terminating: metadata.deletionTimestamp !== undefined,
    revision: revisionNumber(metadata.resourceVersion),
    cut,
  };
}

/**
 * Record of a node: its addresses (targets of tunnels) and its pod CIDRs. The node writes its addresses, and
 * readers refuse the list of all nodes if one has more than a list may have.
 */
export function nodeRecord(node: Node): NodeRecord {
  const { metadata, spec = {}, status = {} } = node;
  const reachable = (status.addresses ?? []).filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP');
  const cidrs = spec.podCIDRs ?? (spec.podCIDR ? [spec.podCIDR] : []);
  return {
    name: metadata.name,
    addresses: unique(reachable.map(({ address }) => canonicalAddress(address))).slice(0, LIST_LIMITS.addresses.items),
    podCidrs: unique(cidrs.map(canonicalCidr)).slice(0, LIST_LIMITS.addresses.items),
  };
}

/** True if only the revision differs, which every kubelet heartbeat changes. */
export function sameRecord<T extends PodRecord | NodeRecord>(a: T, b: T): boolean {
  return JSON.stringify({ ...a, revision: 0 }) === JSON.stringify({ ...b, revision: 0 });
}

/** The controller among the owners; the API server allows one at most. */
export function controllerOf(owners: readonly OwnerReference[] | undefined): Owner | null {
  const controller = owners?.find((owner) => owner.controller === true);
  // No object has a longer UID, so the reference is invalid. Its author chooses the characters too.
  if (!controller || isTooLong(controller.uid, TEXT_LIMITS.uid.bytes)) return null;
  const { bytes } = TEXT_LIMITS.name;
  return { kind: cutEnd(controller.kind, bytes), name: cutEnd(controller.name, bytes), uid: controller.uid };
}

/** Labels that policies select by, then the others sorted by name, up to the limits. */
function limitedLabels(
  labels: Record<string, string>,
  selectedBy: ReadonlySet<string>,
): { kept: Record<string, string>; cut: boolean } {
  const all = Object.entries(labels);
  let bytes = 0;
  const fits = ([name, value]: [string, string]) => {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
    return bytes <= MAX_LABELS_BYTES;
  };
  const whole = all.length <= LIST_LIMITS.labels.items && all.every(fits);
  if (whole) return { kept: labels, cut: false };
  bytes = 0;
  const selected = all.filter(([name]) => selectedBy.has(name));
  const others = all.filter(([name]) => !selectedBy.has(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  const room = others.slice(0, Math.max(0, LIST_LIMITS.labels.items - selected.length));
  const end = room.findIndex((label) => !fits(label));
  return { kept: Object.fromEntries([...selected, ...(end < 0 ? room : room.slice(0, end))]), cut: true };
}

function podAddresses(status: NonNullable<Pod['status']>): string[] {
  const all = status.podIPs?.map(({ ip }) => ip) ?? (status.podIP ? [status.podIP] : []);
  return unique(all.map(canonicalAddress));
}

/** All containers in the order of the spec, with the runtime's id (without scheme) once known. */
function podContainers({ spec = {}, status = {} }: Pod): PodIdentity['containers'] {
  const statuses = [
    ...(status.containerStatuses ?? []),
    ...(status.initContainerStatuses ?? []),
    ...(status.ephemeralContainerStatuses ?? []),
  ];
  const ids = new Map(
    statuses.map(({ name, containerID }) => [name, (containerID ?? '').replace(/^[a-z0-9-]+:\/\//, '')]),
  );
  const all = [...(spec.initContainers ?? []), ...(spec.containers ?? []), ...(spec.ephemeralContainers ?? [])];
  const idOf = (name: string) => ids.get(name) ?? '';
  // No runtime has a longer id. An invalid id must not make readers refuse the snapshot.
  return all.map(({ name }) => ({ name, id: idOf(name).length <= TEXT_LIMITS.uid.bytes ? idOf(name) : '' }));
}

/** Ports that the kubelet probes, with named ports resolved; each once, in order. */
function probePorts({ spec = {} }: Pod): PodIdentity['probePorts'] {
  // Only sidecars among the init containers have probes.
  const all = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  const ports = all.flatMap((container) =>
    [container.livenessProbe, container.readinessProbe, container.startupProbe].map((probe) =>
      probePort(container, probe),
    ),
  );
  return unique(ports)
    .sort((a, b) => a - b)
    .map((port) => ({ port, protocol: 'TCP' as const }));
}

function probePort(container: Container, probe: ProbeHandler | undefined): number | null {
  const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port ?? probe?.grpc?.port;
  if (port === undefined) return null;
  const named = container.ports?.find(({ name }) => name === port)?.containerPort;
  // The API server reads a numeric string as a number if no port has that name.
  const number = named ?? Number(port);
  return Number.isInteger(number) && number >= 1 && number <= 65_535 ? number : null;
}

function revisionNumber(resourceVersion: string): number {
  const number = Number(resourceVersion);
  return Number.isSafeInteger(number) && number >= 0 ? number : 0;
}

function unique<T>(values: readonly (T | null)[]): T[] {
  return [...new Set(values)].filter((value): value is T => value !== null);
}
