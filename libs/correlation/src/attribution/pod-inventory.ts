/**
 * Pod inventory: which pods are on which node, and since when, from the snapshots in `bailiff_pods`.
 * Pure. attribution.ts reads it.
 *
 * The bucket keeps only the newest snapshot of a node, which names the one it replaced. So a reader
 * detects gaps: a list is complete from `completeSince` on. After the bucket was recreated, a list
 * stays valid, but incomplete, until its next snapshot. Former pods and owners are bounded (MAX_…).
 * At a bound, the namespace with the most former pods of the node loses its oldest.
 */
import { TEXT_LIMITS } from '@bailiff/schemas';
import { SETTLE_MICROS } from '../windows/time.ts';

const { uid: UID, name: NAME } = TEXT_LIMITS;

/** How long former pods are kept: a node that was disconnected may still report on them. */
export const FORMER_MEMORY_MICROS = 24 * 3_600_000_000;
/**
 * Beyond it some expire early. Reached in a day by 500 pods that are replaced every three hours.
 */
export const MAX_FORMER_PER_NODE = 4_096;
/** Beyond it the node with the most former pods loses one. */
export const MAX_FORMER = 100_000;
/** Snapshots between two sweeps of all nodes, which also cover nodes that sent no snapshot. */
const SWEEP_EVERY = 256;
/** An owner chain has two or three. A user who may change a pod can add others while it exists. */
export const MAX_OWNERS = 16;

export interface PodSnapshot {
  node: string;
  /** When the bus stored it. */
  timestampMicros: number;
  /** Sequence in the bucket. */
  revision: number;
  /** Sequence of the snapshot that it replaced, 0 = none; null = not known. */
  previousRevision: number | null;
  /** null if the node's key was deleted. */
  json: string | null;
}

export interface InventoryEntry {
  readonly node: string;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /**
   * Time from which it counts as listed: SETTLE_MICROS after its first snapshot; 0 if it was listed
   * before the first read.
   */
  readonly settledAt: number;
  /** When it left the list; Infinity while it is listed. */
  until: number;
  /** Equals `until === Infinity`, with one memory access less. */
  listed: boolean;
  /** Uid of each owner in the chain → time from which it counts. */
  readonly owners: Map<string, number>;
  /** `version` of the newest snapshot that contains it. */
  seenIn: number;
}

interface NodeList {
  revision: number;
  completeSince: number;
  /** The newest snapshot omits pods. */
  isIncomplete: boolean;
  pods: Map<string, InventoryEntry>;
  /** Former pods by namespace, oldest first. */
  former: Map<string, Set<InventoryEntry>>;
  /** Number of former pods. */
  formerCount: number;
}

interface ListedPod {
  uid: string;
  namespace: string;
  name: string;
  owners: string[];
}

export class PodInventory {
  readonly #nodes = new Map<string, NodeList>();
  readonly #byUid = new Map<string, InventoryEntry[]>();
  /** Former pods of all nodes. */
  #former = 0;
  /** Start of the bucket: an unknown node had no list since then. */
  #createdMicros = 0;
  /** Number of changes. */
  version = 0;

  get listed(): number {
    let count = 0;
    for (const node of this.#nodes.values()) count += node.pods.size;
    return count;
  }
  get former(): number {
    return this.#former;
  }

  /** The bucket is younger than the frames: a missing list proves nothing about earlier times. */
  bucketCreatedAt(timeMicros: number): void {
    this.version++;
    this.#createdMicros = timeMicros;
  }

  /**
   * The bucket was recreated: revisions restart, and each list is incomplete until its next
   * snapshot.
   */
  streamRecreated(timeMicros: number): void {
    this.version++;
    this.#createdMicros = timeMicros;
    for (const list of this.#nodes.values()) {
      list.completeSince = Number.POSITIVE_INFINITY;
      list.revision = -1;
    }
  }

  /**
   * Applies the next snapshot of the bucket. Returns why it was refused, or null. After a refusal
   * the last valid one stays.
   */
  apply(snapshot: PodSnapshot): string | null {
    const before = this.#nodes.get(snapshot.node);
    const parsed =
      snapshot.json === null ? { pods: [], isIncomplete: false } : parseSnapshot(snapshot.node, snapshot.json);
    if (typeof parsed === 'string') return parsed;
    const isGapless = before ? snapshot.previousRevision === before.revision : snapshot.previousRevision === 0;
    const list: NodeList = before ?? {
      revision: 0,
      completeSince: this.#createdMicros,
      isIncomplete: false,
      pods: new Map(),
      former: new Map(),
      formerCount: 0,
    };
    if (!isGapless || list.isIncomplete) list.completeSince = snapshot.timestampMicros;
    if (parsed.isIncomplete) list.completeSince = Number.POSITIVE_INFINITY;
    list.isIncomplete = parsed.isIncomplete;
    for (const pod of parsed.pods) this.#list(list, pod, snapshot, before === undefined && !isGapless);
    for (const entry of list.pods.values()) {
      if (entry.seenIn !== this.version + 1) this.#leave(list, entry, snapshot.timestampMicros);
    }
    list.revision = snapshot.revision;
    this.#nodes.set(snapshot.node, list);
    this.#expireFormer(list, snapshot.timestampMicros);
    this.version++;
    if (this.version % SWEEP_EVERY === 0) {
      for (const each of this.#nodes.values()) this.#expireFormer(each, snapshot.timestampMicros);
    }
    while (this.#former > MAX_FORMER) this.#dropEarly(this.#longest());
    return null;
  }

  /** All entries of this pod uid, one per node. */
  entriesOf(uid: string): readonly InventoryEntry[] {
    return this.#byUid.get(uid) ?? [];
  }

  /** Time from which the node's list is complete, 0 = always; null = the node is unknown. */
  completeSince(node: string): number | null {
    return this.#nodes.get(node)?.completeSince ?? null;
  }

  #list(list: NodeList, pod: ListedPod, snapshot: PodSnapshot, listedBefore: boolean): void {
    const settledAt = listedBefore ? 0 : snapshot.timestampMicros + SETTLE_MICROS;
    let entry = list.pods.get(pod.uid) ?? this.entriesOf(pod.uid).find((known) => known.node === snapshot.node);
    if (!entry) {
      const { uid, namespace, name } = pod;
      const until = Number.POSITIVE_INFINITY;
      entry = {
        node: snapshot.node,
        uid,
        namespace,
        name,
        settledAt,
        until,
        listed: true,
        owners: new Map(),
        seenIn: 0,
      };
      this.#byUid.set(uid, [...this.entriesOf(uid), entry]);
    }
    list.pods.set(pod.uid, entry);
    this.#forget(list, entry);
    entry.until = Number.POSITIVE_INFINITY;
    entry.listed = true;
    entry.seenIn = this.version + 1;
    for (const owner of pod.owners) if (!entry.owners.has(owner)) entry.owners.set(owner, settledAt);
    for (const owner of entry.owners.keys()) {
      if (entry.owners.size <= MAX_OWNERS) break;
      if (!pod.owners.includes(owner)) entry.owners.delete(owner);
    }
  }

  #leave(list: NodeList, entry: InventoryEntry, timeMicros: number): void {
    list.pods.delete(entry.uid);
    entry.until = timeMicros;
    entry.listed = false;
    const ofNamespace = list.former.get(entry.namespace) ?? new Set<InventoryEntry>();
    list.former.set(entry.namespace, ofNamespace.add(entry));
    list.formerCount++;
    this.#former++;
  }

  /** Removes an entry from the former pods, if it is one. */
  #forget(list: NodeList, entry: InventoryEntry): void {
    const ofNamespace = list.former.get(entry.namespace);
    if (!ofNamespace?.delete(entry)) return;
    if (ofNamespace.size === 0) list.former.delete(entry.namespace);
    list.formerCount--;
    this.#former--;
  }

  #expireFormer(list: NodeList, nowMicros: number): void {
    for (const ofNamespace of list.former.values()) {
      for (const entry of ofNamespace) {
        if (entry.until > nowMicros - FORMER_MEMORY_MICROS) break;
        this.#forget(list, entry);
        this.#drop(entry);
      }
    }
    while (list.formerCount > MAX_FORMER_PER_NODE) this.#dropEarly(list);
  }

  #longest(): NodeList {
    return [...this.#nodes.values()].reduce((longest, list) =>
      list.formerCount > longest.formerCount ? list : longest,
    );
  }

  /**
   * Removes the oldest former pod of the namespace that has most on the node. That makes the list
   * incomplete until the regular removal: reports on the pod are unproven, not foreign.
   */
  #dropEarly(list: NodeList): void {
    let most: ReadonlySet<InventoryEntry> = new Set();
    for (const ofNamespace of list.former.values()) if (ofNamespace.size > most.size) most = ofNamespace;
    const [entry] = most;
    if (!entry) return;
    this.#forget(list, entry);
    list.completeSince = Math.max(list.completeSince, entry.until + FORMER_MEMORY_MICROS);
    this.#drop(entry);
  }

  #drop(entry: InventoryEntry): void {
    const others = this.entriesOf(entry.uid).filter((other) => other !== entry);
    if (others.length > 0) this.#byUid.set(entry.uid, others);
    else this.#byUid.delete(entry.uid);
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

interface ParsedSnapshot {
  pods: ListedPod[];
  /** ipam-sync omitted pods. A pod missing from this list does not count against the node. */
  isIncomplete: boolean;
}

/**
 * Checks only the fields in use: full validation of a thousand snapshots takes seconds at each
 * start.
 */
function parseSnapshot(node: string, json: string): ParsedSnapshot | string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return `not JSON: ${(error as Error).message}`;
  }
  if (!isRecord(value)) return 'not an object';
  if (value['nodeName'] !== node) return `nodeName is ${JSON.stringify(value['nodeName'])}`;
  const { pods, omitted } = value;
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
  return { pods: listed, isIncomplete: omitted !== undefined && omitted !== 0 };
}
