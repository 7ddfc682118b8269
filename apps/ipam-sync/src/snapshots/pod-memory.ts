/**
 * Bounds the memory of pod records. Tenants choose the size and the number of their pods. While a
 * record does not fit, the namespace with most bytes loses those that it has had longest, or the
 * record is left out if it is of that namespace. So a namespace below its part keeps all records,
 * whatever the others create. Pure.
 */
import type { PodRecord } from '../pods/records.ts';

/** Pods without a record whose node is known: their nodes are not blamed for them. */
export const MAX_OMITTED = 16_384;
/** What is left of a pod without its record: UID, namespace and node. */
const OMITTED_BYTES = 800;
/** Measured: a pod is in several maps, a character takes up to two bytes, and each entry an object. */
const BYTES_PER_POD = 256;
const BYTES_PER_CHARACTER = 2;
const BYTES_PER_ENTRY = 80;

/** Memory of a record, at most. */
export function bytesOf(record: PodRecord): number {
  const { addresses, containers, labels, probePorts, requests } = record;
  const lists = [addresses, containers, probePorts, ...Object.values(requests).map(({ values }) => values)];
  const entries = lists.reduce((sum, list) => sum + list.length, Object.keys(labels).length);
  return BYTES_PER_POD + JSON.stringify(record).length * BYTES_PER_CHARACTER + entries * BYTES_PER_ENTRY;
}

interface Namespace {
  bytes: number;
  /** Bytes by UID of the pods with a record, the longest known first. */
  records: Map<string, number>;
}

export class PodMemory {
  readonly #most: number;
  readonly #namespaces = new Map<string, Namespace>();
  /** UIDs of the pods without a record. */
  readonly #omitted = new Set<string>();
  #used = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get used(): number {
    return this.#used;
  }

  get omitted(): number {
    return this.#omitted.size;
  }

  /** True if most of the room of a full memory is free again. */
  get hasRoom(): boolean {
    return this.#used < this.#most * 0.75;
  }

  /** Whether a new record fits, with or without the loss of others. */
  hasShare({ namespace }: PodRecord, bytes: number): boolean {
    return this.#used + bytes <= this.#most || this.#largest(namespace, bytes) !== namespace;
  }

  /** @returns whether the record fits, and the pods that lose theirs for it */
  put({ namespace, uid }: PodRecord, bytes: number): { fits: boolean; lost: string[] } {
    const known = this.#namespaces.get(namespace)?.records.get(uid);
    const lost: string[] = [];
    if (known === bytes) return { fits: true, lost };
    this.remove(namespace, uid);
    while (this.#used + bytes > this.#most) {
      const largest = this.#largest(namespace, bytes);
      if (largest === namespace) {
        this.#omit(namespace, uid);
        return { fits: false, lost };
      }
      const [first] = this.#namespaces.get(largest)?.records.keys() ?? [];
      if (first === undefined) break;
      this.remove(largest, first);
      this.#omit(largest, first);
      lost.push(first);
    }
    this.#of(namespace).records.set(uid, bytes);
    this.#add(namespace, bytes);
    return { fits: true, lost };
  }

  remove(namespace: string, uid: string): void {
    const bytes = this.#namespaces.get(namespace)?.records.get(uid);
    if (bytes !== undefined) {
      this.#namespaces.get(namespace)?.records.delete(uid);
      this.#add(namespace, -bytes);
    } else if (this.#omitted.delete(uid)) {
      this.#add(namespace, -OMITTED_BYTES);
    }
  }

  #omit(namespace: string, uid: string): void {
    this.#omitted.add(uid);
    this.#add(namespace, OMITTED_BYTES);
  }

  /** Of the namespaces with a record, and the one that adds these bytes. */
  #largest(adding: string, bytes: number): string {
    let largest = adding;
    let most = (this.#namespaces.get(adding)?.bytes ?? 0) + bytes;
    for (const [name, of] of this.#namespaces) {
      if (of.bytes <= most || of.records.size === 0) continue;
      largest = name;
      most = of.bytes;
    }
    return largest;
  }

  #of(namespace: string): Namespace {
    const found = this.#namespaces.get(namespace) ?? { bytes: 0, records: new Map<string, number>() };
    this.#namespaces.set(namespace, found);
    return found;
  }

  #add(namespace: string, bytes: number): void {
    const of = this.#of(namespace);
    of.bytes += bytes;
    this.#used += bytes;
    if (of.bytes === 0) this.#namespaces.delete(namespace);
  }
}
