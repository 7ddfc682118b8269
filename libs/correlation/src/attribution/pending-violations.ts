/**
 * Pending violations: each waits for its pod to appear in a snapshot. Pure, in stream time.
 *
 * Invariants: a violation leaves at the stream time from which its attribution holds, ordered by
 * that time and then by stream position. The logs alone determine both, so every replica processes
 * it at the same point. The violations of one pod keep their order. Bounds: MAX_PENDING and
 * MAX_TEXT in total, MAX_PENDING_PER_NODE and MAX_TEXT_PER_NODE for a node, of which pods of a
 * namespace use more only while more is free than they have. Beyond them a violation is refused at
 * once as `unproven-pod`.
 */
import type { ProjectedViolation } from '@bailiff/schemas';
import type { Attribution } from './attribution.ts';

/** Limits the share of a node that floods the stream. */
export const MAX_PENDING_PER_NODE = 2_048;
export const MAX_PENDING = 65_536;
/** In UTF-16 units. The strings of an ordinary violation have 300 to 600. */
export const MAX_TEXT_PER_NODE = 2 * 1024 * 1024;
export const MAX_TEXT = 32 * 1024 * 1024;

export interface PendingViolation {
  node: string;
  sequence: number;
  /** Stream time of the frame. */
  timestampMicros: number;
  frameSequence: number;
  index: number;
  violation: ProjectedViolation;
}

export interface Released {
  pending: PendingViolation;
  attribution: Attribution;
}

interface Used {
  count: number;
  text: number;
}
const NOTHING: Readonly<Used> = { count: 0, text: 0 };

type Attribute = (pending: PendingViolation) => Attribution;

export class PendingViolations {
  #waiting: PendingViolation[] = [];
  readonly #perNode = new Map<string, Used>();
  /** By node and namespace. */
  readonly #perNamespace = new Map<string, Used>();
  /** Characters of all pending violations. */
  #text = 0;
  /** Earliest release by the inventory of `#version`; Infinity if none is pending. */
  #nextMicros = Number.POSITIVE_INFINITY;
  /** Version of the inventory that `#nextMicros` was computed from. */
  #version = -1;

  get size(): number {
    return this.#waiting.length;
  }

  /** @returns false if a bound is reached */
  add(pending: PendingViolation, attribution: Attribution): boolean {
    const ofNode = this.#perNode.get(pending.node) ?? NOTHING;
    const own = this.#perNamespace.get(namespaceKey(pending)) ?? NOTHING;
    const text = textOf(pending.violation);
    if (this.#waiting.length >= MAX_PENDING || own.count >= MAX_PENDING_PER_NODE - ofNode.count) return false;
    if (this.#text + text > MAX_TEXT || own.text + text > MAX_TEXT_PER_NODE - ofNode.text) return false;
    this.#waiting.push(pending);
    charge(this.#perNode, pending.node, 1, text);
    charge(this.#perNamespace, namespaceKey(pending), 1, text);
    this.#text += text;
    this.#nextMicros = Math.min(this.#nextMicros, attribution.atMicros);
    return true;
  }

  /** Time of the next release by the current inventory; null if none is pending. */
  nextMicros(version: number, attribute: Attribute): number | null {
    if (this.#waiting.length === 0) return null;
    if (version !== this.#version) this.#refresh(version, attribute);
    return this.#nextMicros;
  }

  /**
   * Removes and returns the violations that are released at or before a stream time.
   * @param version of the inventory that `attribute` uses
   */
  release(nowMicros: number, version: number, attribute: Attribute): Released[] {
    if (this.#waiting.length === 0) return [];
    if (version === this.#version && this.#nextMicros > nowMicros) return [];
    const released: Released[] = [];
    const staying: PendingViolation[] = [];
    this.#version = version;
    this.#nextMicros = Number.POSITIVE_INFINITY;
    for (const pending of this.#waiting) {
      const attribution = attribute(pending);
      if (attribution.atMicros <= nowMicros) {
        released.push({ pending, attribution });
        this.#subtract(pending);
      } else {
        staying.push(pending);
        this.#nextMicros = Math.min(this.#nextMicros, attribution.atMicros);
      }
    }
    this.#waiting = staying;
    return released.sort(
      (a, b) =>
        a.attribution.atMicros - b.attribution.atMicros ||
        a.pending.sequence - b.pending.sequence ||
        a.pending.index - b.pending.index,
    );
  }

  #refresh(version: number, attribute: Attribute): void {
    this.#version = version;
    this.#nextMicros = Number.POSITIVE_INFINITY;
    for (const pending of this.#waiting) this.#nextMicros = Math.min(this.#nextMicros, attribute(pending).atMicros);
  }

  #subtract(pending: PendingViolation): void {
    const text = textOf(pending.violation);
    this.#text -= text;
    charge(this.#perNode, pending.node, -1, -text);
    charge(this.#perNamespace, namespaceKey(pending), -1, -text);
  }
}

const namespaceKey = ({ node, violation }: PendingViolation) => `${node}/${violation.pod?.namespace ?? ''}`;

function charge(used: Map<string, Used>, key: string, count: number, text: number): void {
  const before = used.get(key) ?? NOTHING;
  const after = { count: before.count + count, text: before.text + text };
  if (after.count > 0) used.set(key, after);
  else used.delete(key);
}

const lengthOf = (strings: object): number =>
  Object.values(strings).reduce((sum: number, value) => sum + (typeof value === 'string' ? value.length : 0), 0);

/** Characters that a pending violation keeps in memory. */
function textOf({ vector, counterEpoch, severity, pod, sample, operation }: ProjectedViolation): number {
  const parts = [pod, sample, sample?.process, operation].filter((part) => part !== null && part !== undefined);
  return vector.length + counterEpoch.length + severity.length + parts.reduce((sum, part) => sum + lengthOf(part), 0);
}
