/**
 * Counts the messages of each node that were skipped or refused, for status, metrics and log.
 *
 * Data path: frame-consumer.ts, violation-reader.ts → here → status reporter, metrics.ts. Bounds:
 * MAX_NODES recent nodes, the others count as OTHER; a status names the MAX_LISTED newest.
 */
import type { SkippedMessages as SkippedStatus } from '@bailiff/schemas';

const MAX_NODES = 1_000;
export const OTHER = '(other)';
const MAX_LISTED = 16;
/** A node without another one for this long is no longer in the status. */
const RECENT_MS = 600_000;

interface Skipped {
  messages: number;
  sinceMs: number;
  lastMs: number;
  reason: string;
}

export class SkippedMessages {
  /** Nodes with recent messages, the newest last. */
  readonly #nodes = new Map<string, Skipped>();
  readonly #nowMs: () => number;
  readonly #onFirst: (node: string, reason: string) => void;
  #total = 0;

  /** @param onFirst called with the first recent message of a node */
  constructor(nowMs: () => number, onFirst: (node: string, reason: string) => void) {
    this.#nowMs = nowMs;
    this.#onFirst = onFirst;
  }

  /** @param node empty if the subject names none */
  add(node: string, reason: string): void {
    this.#forget();
    const name = this.#nodes.has(node) || this.#nodes.size < MAX_NODES ? node : OTHER;
    const nowMs = this.#nowMs();
    const { messages, sinceMs } = this.#nodes.get(name) ?? { messages: 0, sinceMs: nowMs };
    this.#nodes.delete(name);
    this.#nodes.set(name, { messages: messages + 1, sinceMs, lastMs: nowMs, reason });
    this.#total += 1;
    if (messages === 0) this.#onFirst(name, reason);
  }

  /** Messages since the start, and nodes with recent ones. */
  get totals() {
    this.#forget();
    return { messages: this.#total, nodes: this.#nodes.size };
  }

  /** Nodes with recent messages, the newest first. */
  status(): SkippedStatus[] {
    this.#forget();
    return [...this.#nodes]
      .slice(-MAX_LISTED)
      .reverse()
      .map(([node, { messages, sinceMs, reason }]) => ({
        node,
        messages,
        reason,
        since: new Date(sinceMs).toISOString(),
      }));
  }

  #forget(): void {
    const nowMs = this.#nowMs();
    for (const [node, { lastMs }] of this.#nodes) {
      if (nowMs - lastMs <= RECENT_MS) return;
      this.#nodes.delete(node);
    }
  }
}
