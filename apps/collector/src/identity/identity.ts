/**
 * Whose interface is it? Decides the identity that an interface may speak under, from what the node and the bus say of it:
 * the CNI record first, the pod's network namespace as fallback, the bus to confirm. Pure.
 *
 * The fallback finds which pod it is and nothing else: the pod's side is the pod's to change, so its addresses come from the bus, and its MAC
 * is taken only while no other interface has it.
 *
 * A binding is made once for the life of the ifindex: a later change of its name, MAC or peer namespace is reported as
 * `interface-moved` and changes nothing. Host names are used again (Calico's are a hash), and a record can outlive its pod, so which
 * record speaks of which bearer of a name is decided by time (see recordFor and replaces). The bus's addresses win over the node's, except when a snapshot disagrees with the
 * node on most of its interfaces: that is a wrong feed, and it is refused as a whole.
 */
import type { NodeSnapshot, PodIdentity } from '@bailiff/schemas';
import type { CniRecord } from './cni-record.ts';

/** What netlink says of a host-side interface. */
export interface LinkFacts {
  ifindex: number;
  name: string;
  kind: string;
  mac: string;
  /** Peer's namespace as numbered by this one; null while the kernel has not said. */
  linkNetnsid: number | null;
  /** ifindex of the peer; equal numbers in another namespace are common. */
  peerIfindex: number | null;
}

export interface Binding {
  source: 'cni' | 'netns';
  podUid: string;
  podNamespace: string;
  podName: string;
  /** Interface inside the pod. */
  ifName: string;
  /** MAC of the pod's side. */
  mac: string;
  /** By the record, or of one that was found by namespace by the bus. */
  addresses: string[];
  /** The link as it was when the binding was made. */
  link: { name: string; mac: string; linkNetnsid: number | null };
  /** Its file, which is named by the sandbox; absent when it was no record. */
  recordFile?: string | undefined;
  /** When the CNI record was written, wall-clock milliseconds; absent when it was no record. */
  recordedAtMs?: number | undefined;
  /** The record is older than the interface as first seen by a process: the runtime may still write the right one. */
  isDoubtful?: boolean | undefined;
}

/**
 * The record is written after the interface is made, and its time comes from a coarser clock than the announcement's; an event may also
 * wait for a busy loop. A record that is older than the announcement by more than this, but for the time in which the process did not
 * run, is of an earlier bearer of the name.
 */
export const RECORD_SLACK_MS = 1_000;

/** What decides between records: the link, how old one may be (wall-clock milliseconds; 0: any age), and which records are spent. */
export interface Bearer {
  link: LinkFacts;
  notBeforeMs: number;
  /** Whether an earlier interface was bound to the record and went. */
  isSpent(record: CniRecord): boolean;
}

/**
 * The record that speaks of this bearer of the name: the newest of those whose host side has it. One that an earlier interface was bound
 * to went with that interface; one that is older than an announced interface is of somebody before it. Of an interface that was there
 * when the process began nobody knows the age, so any record will do until a newer one comes.
 */
export function recordFor(bearer: Bearer, records: Iterable<CniRecord>): CniRecord | null {
  let newest: CniRecord | null = null;
  for (const record of records) {
    if (!record.hostInterfaces.includes(bearer.link.name) || bearer.isSpent(record)) continue;
    if (record.writtenAtMs < bearer.notBeforeMs) continue;
    if (!newest || record.writtenAtMs > newest.writtenAtMs) newest = record;
  }
  return newest;
}

/**
 * Whether a record takes the place of a binding: of another pod, newer, and the binding was made by a record that is older than the
 * interface. A binding made by a record that came after its interface is never replaced: a name has one bearer at a time.
 */
export function replaces(record: CniRecord, binding: Binding): boolean {
  return (
    record.podUid !== binding.podUid &&
    binding.isDoubtful === true &&
    record.writtenAtMs > (binding.recordedAtMs ?? Number.POSITIVE_INFINITY)
  );
}

/** The binding that a record makes. @param firstSeenWallMs when a process first saw the interface */
export function bindByCni(link: LinkFacts, record: CniRecord, firstSeenWallMs: number): Binding {
  return {
    source: 'cni',
    podUid: record.podUid,
    podNamespace: record.podNamespace,
    podName: record.podName,
    ifName: record.ifName,
    mac: record.podMac,
    addresses: record.addresses,
    link: { name: link.name, mac: link.mac, linkNetnsid: link.linkNetnsid },
    recordFile: record.file,
    recordedAtMs: record.writtenAtMs,
    isDoubtful: record.writtenAtMs < firstSeenWallMs,
  };
}

/**
 * A binding whose link had no namespace id yet, with the one that came: what moves away from there later has moved. Null: nothing is new.
 */
export function latchNetns(binding: Binding, link: LinkFacts): Binding | null {
  if (binding.link.linkNetnsid !== null || link.linkNetnsid === null) return null;
  return { ...binding, link: { ...binding.link, linkNetnsid: link.linkNetnsid } };
}

/** What differs between a binding's link and the link now; empty when nothing does. A namespace id that came later is no move. */
export function movedFrom(binding: Binding, link: LinkFacts): string[] {
  const changes: string[] = [];
  if (binding.link.name !== link.name) changes.push(`name ${binding.link.name} -> ${link.name}`);
  if (binding.link.mac !== link.mac) changes.push(`host MAC ${binding.link.mac} -> ${link.mac}`);
  // While a pair is being torn down the kernel tells of a link whose other end is gone: that is an end, not a move.
  const peerGone = link.linkNetnsid === null && (link.peerIfindex ?? 0) === 0;
  if (binding.link.linkNetnsid !== null && binding.link.linkNetnsid !== link.linkNetnsid && !peerGone) {
    changes.push(`peer namespace id ${binding.link.linkNetnsid} -> ${link.linkNetnsid ?? 'none'}`);
  }
  return changes;
}

/** The interface that the API server's podIPs speak of. The name of one that was found by namespace is the pod's to choose. */
export function isPrimary(binding: Binding): boolean {
  return binding.source === 'netns' || binding.ifName === 'eth0' || binding.ifName === '';
}

/** Stands for the MAC of a pod whose own cannot be believed: no frame on the wire has it, so source-mac holds for every frame. */
export const NOT_OWN_MAC = '00:00:00:00:00:00';

/** What decides between two that claim a MAC. */
export interface MacClaim {
  generation: number;
  binding: Binding | null;
  link: Pick<LinkFacts, 'mac'>;
}

/**
 * Whether a MAC that was read from the pod's side belongs to another interface: one whose record names it, a host side that has it, or a pod that
 * was found earlier. A pod with CAP_NET_ADMIN sets its MAC before it is looked for.
 */
export function isContested({ generation, binding }: MacClaim, others: Iterable<MacClaim>): boolean {
  if (binding?.source !== 'netns') return false;
  for (const other of others) {
    if (other.generation === generation) continue;
    if (other.link.mac === binding.mac) return true;
    if (other.binding?.mac !== binding.mac) continue;
    if (other.binding.source === 'cni' || other.generation < generation) return true;
  }
  return false;
}

/** Addresses on which the bus and the binding differ; empty when they agree or the bus has none yet. */
export function disagreement(binding: Binding, pod: PodIdentity): string[] {
  const told = pod.interfaces.flatMap((i) => i.addresses);
  if (!isPrimary(binding) || told.length === 0 || binding.addresses.length === 0) return [];
  const own = new Set(binding.addresses);
  const both = new Set(told);
  return [...told.filter((a) => !own.has(a)), ...binding.addresses.filter((a) => !both.has(a))];
}

/** A wrong feed needs at least this many interfaces to be told from one wrong pod. */
export const MIN_COMPARED_TO_REFUSE = 2;

/** Fewer pods than these may leave at once without their interfaces: pods that were deleted by force. */
export const MIN_KNOWN_TO_REFUSE = 4;

/**
 * Whether a snapshot may be believed. Refused when it disagrees with the node's own CNI records on more than half of the
 * interfaces that both know, and at least two are known: no pod can write those records, so no pod can bring this about. Refused as well
 * when it lacks more than half of the pods that snapshots told of (`confirmed`) and whose interfaces and records are still here: a drain
 * takes the interfaces away, and as they go the snapshot is judged again.
 */
export function judgeSnapshot(
  snapshot: NodeSnapshot,
  bindings: Iterable<Binding>,
  confirmed: ReadonlySet<string> = new Set(),
): { accepted: true } | { accepted: false; reason: string } {
  const pods = new Map(snapshot.pods.map((p) => [p.uid, p]));
  let compared = 0;
  let wrong = 0;
  let known = 0;
  let missing = 0;
  for (const binding of bindings) {
    if (binding.source !== 'cni' || !isPrimary(binding)) continue;
    const pod = pods.get(binding.podUid);
    if (confirmed.has(binding.podUid)) {
      known += 1;
      if (!pod) missing += 1;
    }
    if (!pod || pod.interfaces.every((i) => i.addresses.length === 0)) continue;
    compared += 1;
    if (disagreement(binding, pod).length > 0) wrong += 1;
  }
  const refuse = (what: string) => ({ accepted: false as const, reason: `snapshot ${snapshot.revision} ${what}` });
  if (compared >= MIN_COMPARED_TO_REFUSE && wrong * 2 > compared)
    return refuse(`disagrees with the CNI records of ${wrong} of ${compared} interfaces`);
  if (known >= MIN_KNOWN_TO_REFUSE && missing * 2 > known)
    return refuse(`lacks ${missing} of ${known} pods whose interfaces and CNI records are still here`);
  return { accepted: true };
}

/** What an interface is allowed to say, and how sure that is. */
export interface Identity {
  state: 'unknown' | 'provisional' | 'programmed';
  mac: string;
  addresses: string[];
  allowedPrefixes: string[];
}

/**
 * The identity in force: nothing, the node's word, or the node's word confirmed (or corrected) by the bus.
 * @param contested its MAC is another's (see isContested)
 */
export function identityOf(binding: Binding | null, pod: PodIdentity | null, contested = false): Identity {
  if (!binding) return { state: 'unknown', mac: '', addresses: [], allowedPrefixes: [] };
  const told = pod && isPrimary(binding) ? pod.interfaces.flatMap((i) => i.addresses) : [];
  const confirmed = pod !== null && (told.length > 0 || !isPrimary(binding));
  return {
    state: confirmed ? 'programmed' : 'provisional',
    mac: contested ? NOT_OWN_MAC : binding.mac,
    addresses: confirmed && told.length > 0 ? told : binding.addresses,
    allowedPrefixes: pod?.allowedPrefixes ?? [],
  };
}
