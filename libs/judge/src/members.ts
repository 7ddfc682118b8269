/**
 * Which pods are on which node, and since when: folded from the snapshots in `bailiff_pods`, each with the time at which the bus stored it.
 * Pure. What foreign.ts judges by.
 *
 * The bucket keeps the newest snapshot of a node only, so what a reader knows begins with the first one it saw. A snapshot
 * names the one it replaces (it is put by compare and set), by which a reader knows whether it has seen all of them: `knownSince`
 * is the time from which a node's list is known without a gap, 0 when that is since the node had one. A bucket that was made anew knows
 * nothing of before: its lists stand until they are told anew, but nobody is blamed by them for what only the old bucket could show.
 * Bounds: the pods that are listed, plus MAX_FORMER_PER_NODE of each node and MAX_FORMER in all that were, for FORMER_MEMORY_MICROS; of each its newest
 * MAX_OWNERS owners. A tenant that creates and deletes pods on one node shortens the memory of that node only.
 */
import { TEXT_LIMITS } from '@bailiff/schemas';
import { SETTLE_MICROS } from './time.ts';

const { uid: UID, name: NAME } = TEXT_LIMITS;

/** Pods that left are remembered this long, so that a node that was cut off may still name them without being blamed. */
export const FORMER_MEMORY_MICROS = 24 * 3_600_000_000;
/** Above it the oldest of the node are forgotten early. A node of 500 pods that are replaced every three hours has as many in a day. */
export const MAX_FORMER_PER_NODE = 4_096;
/** Above it the node with the most loses its oldest. */
export const MAX_FORMER = 100_000;
/** All nodes are looked through after so many snapshots: one that sends none any more is forgotten too. */
const SWEEP_EVERY = 256;
/** Owners of one pod. A chain has two or three; who may change a pod may write others into it for as long as it lives. */
export const MAX_OWNERS = 16;

export interface SnapshotEntry {
  node: string;
  /** When the bus stored it. */
  timestampMicros: number;
  /** Sequence in the bucket. */
  revision: number;
  /** Sequence of the snapshot that it replaced, 0 = there was none; null = not said. */
  previousRevision: number | null;
  /** null = the node's key was deleted. */
  json: string | null;
}

export interface Member {
  readonly node: string;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** From when it counts as listed: a settling time after its first snapshot; 0 when it was there before we looked. */
  readonly settledAt: number;
  /** When it left the list; Infinity while it is listed. */
  until: number;
  /** Whether it is on the list. The same as `until` says; a look at this costs one look into memory less. */
  listed: boolean;
  /** Uid of each owner in its chain, and from when that counts. */
  readonly owners: Map<string, number>;
  /** Number of the newest snapshot that has it, by `version`. */
  seenIn: number;
}

interface NodeList {
  revision: number;
  knownSince: number;
  /** The document's own revision, which only grows. */
  documentRevision: number;
  /** The newest snapshot leaves pods out. */
  isIncomplete: boolean;
  members: Map<string, Member>;
  /** Those that left, in the order in which they did. */
  former: Set<Member>;
}

interface ListedPod {
  uid: string;
  namespace: string;
  name: string;
  owners: string[];
}

export class Members {
  readonly #nodes = new Map<string, NodeList>();
  readonly #byUid = new Map<string, Member[]>();
  /** Of all nodes. */
  #former = 0;
  /** From when on a node that was never heard of is known to have had no list. */
  #bornMicros = 0;
  /** Grows with each snapshot that was taken. */
  version = 0;

  get listed(): number {
    let count = 0;
    for (const node of this.#nodes.values()) count += node.members.size;
    return count;
  }
  get former(): number {
    return this.#former;
  }

  /** The bucket began at this time, later than the frames that are judged: what it does not show of before proves nothing. */
  bornAt(timeMicros: number): void {
    this.#bornMicros = timeMicros;
  }

  /** The bucket was made anew at this time: revisions begin again, and a list is complete only once it was told again. */
  startOver(timeMicros: number): void {
    this.#bornMicros = timeMicros;
    for (const list of this.#nodes.values()) {
      list.knownSince = Number.POSITIVE_INFINITY;
      list.revision = -1;
      list.documentRevision = 0;
    }
  }

  /** Takes the next snapshot of the bucket. Answers why it was refused, or null; then the last good one stays. */
  apply(entry: SnapshotEntry): string | null {
    const before = this.#nodes.get(entry.node);
    const parsed =
      entry.json === null ? { revision: 0, pods: [], isIncomplete: false } : parseSnapshot(entry.node, entry.json);
    if (typeof parsed === 'string') return parsed;
    if (before && entry.json !== null && parsed.revision < before.documentRevision) {
      return `revision ${parsed.revision} is older than ${before.documentRevision}`;
    }
    const gapless = before ? entry.previousRevision === before.revision : entry.previousRevision === 0;
    const list: NodeList = before ?? {
      revision: 0,
      knownSince: this.#bornMicros,
      documentRevision: 0,
      isIncomplete: false,
      members: new Map(),
      former: new Set(),
    };
    if (!gapless || list.isIncomplete) list.knownSince = entry.timestampMicros;
    if (parsed.isIncomplete) list.knownSince = Number.POSITIVE_INFINITY;
    list.isIncomplete = parsed.isIncomplete;
    for (const pod of parsed.pods) this.#list(list, pod, entry, before === undefined && !gapless);
    for (const member of list.members.values()) {
      if (member.seenIn !== this.version + 1) this.#leave(list, member, entry.timestampMicros);
    }
    list.revision = entry.revision;
    list.documentRevision = parsed.revision;
    this.#nodes.set(entry.node, list);
    this.#forgetOf(list, entry.timestampMicros);
    this.version++;
    if (this.version % SWEEP_EVERY === 0) {
      for (const each of this.#nodes.values()) this.#forgetOf(each, entry.timestampMicros);
    }
    while (this.#former > MAX_FORMER) this.#dropOldest(this.#longest(), true);
    return null;
  }

  /** Everyone who ever had this uid, one a node. */
  of(uid: string): readonly Member[] {
    return this.#byUid.get(uid) ?? [];
  }

  /** From when on all pods of a node are known, 0 = always; null = nothing is known of the node. */
  knownSince(node: string): number | null {
    return this.#nodes.get(node)?.knownSince ?? null;
  }

  #list(list: NodeList, pod: ListedPod, entry: SnapshotEntry, wasThereBefore: boolean): void {
    const settledAt = wasThereBefore ? 0 : entry.timestampMicros + SETTLE_MICROS;
    let member = list.members.get(pod.uid) ?? this.of(pod.uid).find((known) => known.node === entry.node);
    if (!member) {
      const { uid, namespace, name } = pod;
      const until = Number.POSITIVE_INFINITY;
      member = { node: entry.node, uid, namespace, name, settledAt, until, listed: true, owners: new Map(), seenIn: 0 };
      this.#byUid.set(uid, [...this.of(uid), member]);
    }
    list.members.set(pod.uid, member);
    if (list.former.delete(member)) this.#former--;
    member.until = Number.POSITIVE_INFINITY;
    member.listed = true;
    member.seenIn = this.version + 1;
    for (const owner of pod.owners) if (!member.owners.has(owner)) member.owners.set(owner, settledAt);
    for (const owner of member.owners.keys()) {
      if (member.owners.size <= MAX_OWNERS) break;
      if (!pod.owners.includes(owner)) member.owners.delete(owner);
    }
  }

  #leave(list: NodeList, member: Member, timeMicros: number): void {
    list.members.delete(member.uid);
    member.until = timeMicros;
    member.listed = false;
    list.former.add(member);
    this.#former++;
  }

  #forgetOf(list: NodeList, nowMicros: number): void {
    for (const member of list.former) {
      const isEarly = member.until > nowMicros - FORMER_MEMORY_MICROS;
      if (isEarly && list.former.size <= MAX_FORMER_PER_NODE) break;
      this.#dropOldest(list, isEarly);
    }
  }

  #longest(): NodeList {
    return [...this.#nodes.values()].reduce((longest, list) =>
      list.former.size > longest.former.size ? list : longest,
    );
  }

  /** A pod that is forgotten early leaves a gap until it would have been forgotten: what the node reports of it is unproven, not foreign. */
  #dropOldest(list: NodeList, isEarly: boolean): void {
    const [member] = list.former;
    if (!member) return;
    list.former.delete(member);
    this.#former--;
    if (isEarly) list.knownSince = Math.max(list.knownSince, member.until + FORMER_MEMORY_MICROS);
    this.#drop(member);
  }

  #drop(member: Member): void {
    const others = this.of(member.uid).filter((other) => other !== member);
    if (others.length > 0) this.#byUid.set(member.uid, others);
    else this.#byUid.delete(member.uid);
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

interface ParsedSnapshot {
  revision: number;
  pods: ListedPod[];
  /** ipam-sync left pods out: the node is not blamed for what the list lacks. */
  isIncomplete: boolean;
}

/** Reads only what is used: a full check of a thousand snapshots would take seconds at each start. */
function parseSnapshot(node: string, json: string): ParsedSnapshot | string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return `not JSON: ${(error as Error).message}`;
  }
  if (!isRecord(value)) return 'not an object';
  if (value['nodeName'] !== node) return `nodeName is ${JSON.stringify(value['nodeName'])}`;
  const { revision, pods, omitted } = value;
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision)) return 'revision is not an integer';
  if (!Array.isArray(pods)) return 'pods is not a list';
  const listed: ListedPod[] = [];
  for (const [index, pod] of pods.entries()) {
    if (!isRecord(pod)) return `pods.${index} is not an object`;
    const { uid, namespace, name } = pod;
    if (typeof uid !== 'string' || typeof namespace !== 'string' || typeof name !== 'string' || uid === '') {
      return `pods.${index} lacks uid, namespace or name`;
    }
    if (uid.length > UID.bytes || namespace.length > NAME.bytes || name.length > NAME.bytes) {
      return `pods.${index} has a uid, namespace or name that is too long`;
    }
    const chain = Array.isArray(pod['owners']) ? pod['owners'].slice(0, MAX_OWNERS) : [];
    const owners = chain.map((owner) => (isRecord(owner) ? owner['uid'] : null)).filter((u) => typeof u === 'string');
    listed.push({ uid, namespace, name, owners });
  }
  return { revision, pods: listed, isIncomplete: omitted !== undefined && omitted !== 0 };
}
