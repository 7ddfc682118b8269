/**
 * Decides which pod an interface belongs to, once for the life of its ifindex, and which identity
 * it may use: by the CNI record, else by the pod's network namespace; the bus confirms. Pure.
 *
 * A pod controls its side of the interface, so the namespace proves only which pod it is. Interface
 * names are reused and records can outlive pods: timestamps decide which record matches. The bus's
 * addresses win, unless a snapshot disagrees with most interfaces of the node.
 */
import type { NodeSnapshot, PodIdentity } from '@bailiff/schemas';
import * as z from 'zod';
import { type CniRecord, namesMacOf } from './cni-record.ts';

/** A host-side interface as netlink reports it. */
export interface LinkFacts {
  ifindex: number;
  name: string;
  kind: string;
  mac: string;
  /** Id of the peer's namespace in this namespace; null: the kernel has not reported it yet. */
  linkNetnsid: number | null;
  /** ifindex of the peer, in its own namespace. */
  peerIfindex: number | null;
  /** netkit with policy `blackhole`: what the pod sends is dropped while no program is attached. */
  dropsAlone?: boolean;
}

/** A binding, also as the state directory stores it. */
export const binding = z.object({
  source: z.enum(['cni', 'netns']),
  podUid: z.string(),
  podNamespace: z.string(),
  podName: z.string(),
  /** Interface inside the pod. */
  ifName: z.string(),
  /** MAC of the pod's side; empty: unknown. */
  mac: z.string(),
  /** It was read from the pod's side, which the pod can change: the record has none, or the pod ran already. */
  isMacRead: z.boolean().optional(),
  /** From the record, or, for a pod found by namespace, from the bus. */
  addresses: z.array(z.string()),
  /** The link at the time of the binding. */
  link: z.object({ name: z.string(), mac: z.string(), linkNetnsid: z.number().int().nullable() }),
  /** Name of the record's file, which contains the sandbox id; absent: bound without a record. */
  recordFile: z.string().optional(),
  /** When the CNI record was written, wall-clock milliseconds; absent: bound without a record. */
  recordedAtMs: z.number().optional(),
  /** The record is older than the interface, and does not have its MAC: the runtime may still write the right one. */
  isDoubtful: z.boolean().optional(),
  /** The CNI plugin named the pod in the call that created the interface. */
  fromCall: z.boolean().optional(),
});
export type Binding = z.infer<typeof binding>;

/**
 * Running time that a valid record may be older than the netlink event of its interface. The record
 * is written after the interface exists, but by a coarser clock, and the event may wait.
 */
export const RECORD_SLACK_MS = 1_000;

/** Selects the record of one interface among records of the same interface name. */
export interface RecordQuery {
  link: LinkFacts;
  /** Wall-clock milliseconds; older records do not match. 0: any age. */
  notBeforeMs: number;
  /** Whether an earlier interface was bound to the record and is gone. */
  isUsed(record: CniRecord): boolean;
}

/**
 * The newest record that names the host side of this interface. A record of an earlier interface
 * does not match: its interface is gone, or it is older than the netlink event of this one. The age
 * of an interface that existed before the process is unknown, so any record matches until a newer
 * one appears.
 */
export function recordFor(query: RecordQuery, records: Iterable<CniRecord>): CniRecord | null {
  let newest: CniRecord | null = null;
  for (const record of records) {
    if (!record.hostInterfaces.includes(query.link.name) || query.isUsed(record)) continue;
    if (record.writtenAtMs < query.notBeforeMs) continue;
    if (!newest || record.writtenAtMs > newest.writtenAtMs) newest = record;
  }
  return newest;
}

/**
 * Whether a record replaces a binding: it names another pod, is newer, and the binding was made by
 * a record that is older than the interface. A binding by a record that followed its interface, or that a
 * call of the CNI plugin confirmed, is never replaced, because a name belongs to one interface at a time.
 */
export function replaces(record: CniRecord, binding: Binding): boolean {
  return (
    record.podUid !== binding.podUid &&
    binding.isDoubtful === true &&
    binding.fromCall !== true &&
    record.writtenAtMs > (binding.recordedAtMs ?? Number.POSITIVE_INFINITY)
  );
}

/** @param firstSeenWallMs when a process first saw the interface, if the record does not have its MAC */
export function bindByCni(link: LinkFacts, record: CniRecord, firstSeenWallMs: number): Binding {
  return {
    source: 'cni',
    podUid: record.podUid,
    podNamespace: record.podNamespace,
    podName: record.podName,
    ifName: record.ifName,
    mac: isLayer3(link) ? ZERO_MAC : record.podMac,
    addresses: record.addresses,
    link: { name: link.name, mac: link.mac, linkNetnsid: link.linkNetnsid },
    recordFile: record.file,
    recordedAtMs: record.writtenAtMs,
    isDoubtful: record.writtenAtMs < firstSeenWallMs && !namesMacOf(record, link.name, link.mac),
    fromCall: record.fromCall,
  };
}

/**
 * Adds the namespace id to a binding whose link had none yet; any later change of the id is a move.
 * @returns null: the binding has one, or there is none yet
 */
export function latchNetns(binding: Binding, link: LinkFacts): Binding | null {
  if (binding.link.linkNetnsid !== null || link.linkNetnsid === null) return null;
  return { ...binding, link: { ...binding.link, linkNetnsid: link.linkNetnsid } };
}

/**
 * Differences between the link of a binding and the current one. The first namespace id is no
 * difference.
 */
export function movedFrom(binding: Binding, link: LinkFacts): string[] {
  const changes: string[] = [];
  if (binding.link.name !== link.name) changes.push(`name ${binding.link.name} -> ${link.name}`);
  if (binding.link.mac !== link.mac) changes.push(`host MAC ${binding.link.mac} -> ${link.mac}`);
  // While the kernel removes a pair it reports a link without peer: an end, not a move.
  const peerGone = link.linkNetnsid === null && (link.peerIfindex ?? 0) === 0;
  if (binding.link.linkNetnsid !== null && binding.link.linkNetnsid !== link.linkNetnsid && !peerGone) {
    changes.push(`peer namespace id ${binding.link.linkNetnsid} -> ${link.linkNetnsid ?? 'none'}`);
  }
  return changes;
}

/**
 * Whether the interface is the one that the API server's podIPs belong to. The name of an interface
 * that was found by namespace does not count, because the pod can change it.
 */
export function isPrimary(binding: Binding): boolean {
  return binding.source === 'netns' || binding.ifName === 'eth0' || binding.ifName === '';
}

export const ZERO_MAC = '00:00:00:00:00:00';

/**
 * Whether this is a netkit pair in mode L3. Its frames have an Ethernet header with zero MACs, and
 * the kernel refuses to change the MAC of either end.
 */
export function isLayer3(link: Pick<LinkFacts, 'kind' | 'mac'>): boolean {
  return link.kind === 'netkit' && link.mac === ZERO_MAC;
}

/**
 * Replaces a contested MAC. A group address is never a MAC of the pod, so every frame violates
 * source-mac, whatever the pod writes. No MAC is contested in mode L3 of netkit.
 */
export const NOT_OWN_MAC = '01:00:00:00:00:00';

/** An interface that claims a MAC. */
export interface MacClaim {
  generation: number;
  binding: Binding | null;
  link: Pick<LinkFacts, 'mac'>;
}

const isMacRead = (binding: Binding): boolean => binding.source === 'netns' || binding.isMacRead === true;

/** Whose a MAC is that other interfaces of the node have too; null: none has it. */
export type MacStanding = 'own' | 'shared' | 'others' | null;

/**
 * A pod with CAP_NET_ADMIN can set its MAC before the collector reads it, and one with an annotation of
 * Multus chooses it. So a MAC that was read belongs to an interface whose record gives it, or to the one
 * that was found earlier. One that was chosen belongs to an interface of its network that was given it.
 * Otherwise nothing proves whose it is (`shared`): neither is judged for it. The record of a pod that starts
 * is written after the call that binds it: until it was read, nothing proves that a MAC was given. A host
 * side has its own. In mode L3 of netkit all interfaces have the same, and none is compared.
 * @param isMacChosen whether a record says so; null: no record was read
 */
export function macStandingOf(
  { generation, binding }: MacClaim,
  others: Iterable<MacClaim>,
  isMacChosen: (binding: Binding) => boolean | null,
): MacStanding {
  if (binding === null || ['', ZERO_MAC, NOT_OWN_MAC].includes(binding.mac)) return null;
  const kindOf = (one: Binding) => {
    if (isMacRead(one)) return 'read';
    const isChosen = isMacChosen(one);
    if (isChosen === null) return 'open';
    return isChosen ? 'chosen' : 'given';
  };
  const { mac } = binding;
  let standing: MacStanding = null;
  for (const other of others) {
    if (other.generation === generation || (other.link.mac !== mac && other.binding?.mac !== mac)) continue;
    standing ??= 'own';
    const own = kindOf(binding);
    if (other.link.mac === mac && (own === 'read' || own === 'chosen')) return 'others';
    if (other.binding?.mac !== mac) continue;
    const its = kindOf(other.binding);
    const kinds: string[] = [own, its];
    const isGiven = kinds.includes('given') && networkOf(binding) === networkOf(other.binding);
    if (kinds.includes('open') || (kinds.includes('chosen') && !isGiven)) standing = 'shared';
    else if (own !== 'given' && (its === 'given' || other.generation < generation)) return 'others';
  }
  return standing;
}

/** An interface that is bound, for comparison with others. */
export interface Bound {
  ifindex: number;
  binding: Binding | null;
}

/** Network and sandbox in the name of a record's file, `<network>-<sandbox>-<interface>`. */
export function recordOf({ recordFile = '', ifName }: Binding): { network: string; sandbox: string } | null {
  const end = `-${ifName}`;
  const rest = recordFile.endsWith(end) ? recordFile.slice(0, -end.length) : '';
  const at = rest.lastIndexOf('-');
  return at === -1 ? null : { network: rest.slice(0, at), sandbox: rest.slice(at + 1) };
}

/**
 * Network of a binding: that of the node's pods, or the name of another network, whose addresses may
 * be those of a third one. null: unknown.
 */
const networkOf = (binding: Binding): string | null => (isPrimary(binding) ? '' : (recordOf(binding)?.network ?? null));

/** By the time of the CNI record, else by ifindex, which the kernel counts up. */
function isNewer(a: Bound, b: Bound): boolean {
  const [of, than] = [a.binding?.recordedAtMs, b.binding?.recordedAtMs];
  return of !== undefined && than !== undefined && of !== than ? of > than : a.ifindex > b.ifindex;
}

/**
 * Whether CNI attached an interface of the same pod and name later than the other one: in a later sandbox,
 * of which a pod has one at a time, or to a network other than the first, which it had left. The clock may have been set
 * back, so the order of the interfaces must agree.
 */
export function isLaterAttachment(one: Bound, than: Bound): boolean {
  const [a, b] = [one.binding, than.binding];
  if (!a || !b || a.podUid !== b.podUid || a.ifName !== b.ifName) return false;
  const [later, earlier] = [recordOf(a)?.sandbox, recordOf(b)?.sandbox];
  if (later === undefined || earlier === undefined || (later === earlier && isPrimary(b))) return false;
  return one.ifindex > than.ifindex && (a.recordedAtMs ?? 0) > (b.recordedAtMs ?? Number.POSITIVE_INFINITY);
}

/** Addresses of an interface that others of its network have too. */
export interface Rivalry {
  /** A newer interface has them, and CNI released this one: its pod has ended. */
  reused: string[];
  /** A pod chose it (`ips` of Multus), and CNI holds both interfaces: nothing proves whose it is, so none loses it. */
  shared: string[];
}

/**
 * @param addresses of `own`
 * @param isByChoice whether two interfaces may have one address because one of their pods chose it
 * @param isApart whether their networks have only the name in common
 */
export function rivalryOf<B extends Bound>(
  own: B,
  addresses: readonly string[],
  others: Iterable<B>,
  isByChoice: (older: B, newer: B) => boolean,
  isApart: (one: B, other: B) => boolean = () => false,
): Rivalry {
  const [reused, shared] = [new Set<string>(), new Set<string>()];
  const network = own.binding && networkOf(own.binding);
  const claimed = new Set(addresses);
  for (const other of others) {
    if (network === null || other.ifindex === own.ifindex) continue;
    if (!other.binding || networkOf(other.binding) !== network) continue;
    const both = other.binding.addresses.filter((address) => claimed.has(address));
    if (both.length === 0 || isApart(own, other)) continue;
    const isLater = isNewer(other, own);
    const isOnePod = other.binding.podUid === own.binding?.podUid;
    const isShared = !isOnePod && (isLater ? isByChoice(own, other) : isByChoice(other, own));
    const of = isShared ? shared : isLater ? reused : null;
    for (const address of both) of?.add(address);
  }
  return { reused: [...reused], shared: [...shared].filter((address) => !reused.has(address)) };
}

/**
 * Addresses on which the bus and the binding differ; empty if they agree or the bus has none yet.
 */
export function disagreement(binding: Binding, pod: PodIdentity): string[] {
  const listed = pod.interfaces.flatMap((i) => i.addresses);
  if (!isPrimary(binding) || listed.length === 0 || binding.addresses.length === 0) return [];
  const own = new Set(binding.addresses);
  const both = new Set(listed);
  return [...listed.filter((a) => !own.has(a)), ...binding.addresses.filter((a) => !both.has(a))];
}

/** Fewer compared interfaces cannot distinguish a wrong snapshot from one wrong pod. */
export const MIN_COMPARED_TO_REFUSE = 2;

/** Fewer known pods may disappear at once without their interfaces: pods deleted by force. */
export const MIN_KNOWN_TO_REFUSE = 4;

/**
 * Decides whether to accept a snapshot of pods. It is rejected in two cases:
 * - It disagrees with the node's CNI records on more than half of the interfaces that both know,
 *   and at least two are known. No pod can write those records, but a tenant with as many pods can have them begin
 *   later sandboxes, whose addresses the kubelet has not reported yet.
 * - It lacks more than half of the `confirmed` pods whose interfaces and records still exist, and
 *   that in more than half of the namespaces on the node: the containers of pods that a tenant
 *   deletes by force run on. A drain removes the interfaces; the snapshot is checked again as they
 *   disappear.
 * @param confirmed UIDs of pods that accepted snapshots listed
 */
export function checkSnapshot(
  snapshot: NodeSnapshot,
  bindings: Iterable<Binding>,
  confirmed: ReadonlySet<string> = new Set(),
): { accepted: true } | { accepted: false; reason: string; lacksPods: boolean } {
  const pods = new Map(snapshot.pods.map((p) => [p.uid, p]));
  let compared = 0;
  let wrong = 0;
  /** Known and missing pods by namespace. */
  const namespaces = new Map<string, { known: number; missing: number }>();
  for (const binding of bindings) {
    if (binding.source !== 'cni' || !isPrimary(binding)) continue;
    const pod = pods.get(binding.podUid);
    const own = namespaces.get(binding.podNamespace) ?? { known: 0, missing: 0 };
    namespaces.set(binding.podNamespace, own);
    if (confirmed.has(binding.podUid)) {
      own.known += 1;
      if (!pod) own.missing += 1;
    }
    if (!pod || pod.interfaces.every((i) => i.addresses.length === 0)) continue;
    compared += 1;
    // The API server has one address of each family. A pod that chose more must not refute the list.
    if (disagreement(binding, pod).some((address) => !binding.addresses.includes(address))) wrong += 1;
  }
  const refuse = (problem: string, lacksPods = false) => ({
    accepted: false as const,
    reason: `snapshot ${snapshot.revision} ${problem}`,
    lacksPods,
  });
  if (compared >= MIN_COMPARED_TO_REFUSE && wrong * 2 > compared)
    return refuse(`disagrees with the CNI records of ${wrong} of ${compared} interfaces`);
  const all = [...namespaces.values()];
  const known = all.reduce((sum, own) => sum + own.known, 0);
  const missing = all.reduce((sum, own) => sum + own.missing, 0);
  const lacking = all.filter((own) => own.missing * 2 > own.known).length;
  if (known >= MIN_KNOWN_TO_REFUSE && missing * 2 > known && lacking * 2 > all.length)
    return refuse(`lacks ${missing} of ${known} pods whose interfaces and CNI records are still here`, true);
  return { accepted: true };
}

/** Addresses that an interface may use, and how sure they are. */
export interface Identity {
  state: 'unknown' | 'provisional' | 'programmed';
  mac: string;
  addresses: string[];
  allowedPrefixes: string[];
  /** Further MACs. */
  allowedMacs: string[];
  /** Networks that it may send tunnels to. */
  allowedTunnels: string[];
  /** Prefixes that it may also announce in ARP and ND. */
  allowedNeighbours: string[];
}

const NO_GRANTS = { allowedPrefixes: [], allowedMacs: [], allowedTunnels: [], allowedNeighbours: [] };

/**
 * The identity to enforce: unknown without a binding, provisional by a record or a namespace alone,
 * programmed when the bus confirms or corrects it. The runtime waits for the answer to a CNI call,
 * so its record cannot belong to an earlier interface: it needs no confirmation.
 * @param contested whether its MAC is that of another interface (see macStandingOf)
 */
export function identityOf(binding: Binding | null, pod: PodIdentity | null, contested = false): Identity {
  if (!binding) return { state: 'unknown', mac: '', addresses: [], ...NO_GRANTS };
  // Outside mode L3, an earlier version stored this MAC for a contested one.
  const isContested = contested || (binding.mac === ZERO_MAC && binding.link.mac !== ZERO_MAC);
  const listed = pod && isPrimary(binding) ? pod.interfaces.flatMap((i) => i.addresses) : [];
  const isCertain = binding.fromCall === true && binding.addresses.length > 0;
  const confirmed = isCertain || (pod !== null && (listed.length > 0 || !isPrimary(binding)));
  return {
    state: confirmed ? 'programmed' : 'provisional',
    mac: isContested ? NOT_OWN_MAC : binding.mac,
    addresses: confirmed && listed.length > 0 ? listed : binding.addresses,
    allowedPrefixes: pod?.allowedPrefixes ?? [],
    allowedMacs: pod?.allowedMacs ?? [],
    allowedTunnels: pod?.allowedTunnels ?? [],
    allowedNeighbours: pod?.allowedNeighbours ?? [],
  };
}
