/**
 * Time since each node's last heartbeat, by the clock of this process. It counts from the latest
 * of: start of the watch, first observation of the node, its last status. So clocks of different
 * machines are never compared, and a new watch starts at zero. Pure: times are passed in. One entry
 * per node.
 */
interface Observed {
  uid: string;
  atMs: number;
}

export class Heartbeats {
  readonly #sinceMs: number;
  readonly #received = new Map<string, number>();
  /** null before the first call of `observe`. */
  #observed: Map<string, Observed> | null = null;

  /** @param sinceMs start of the watch, on a monotonic clock */
  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs;
  }

  received(name: string, atMs: number): void {
    this.#received.set(name, atMs);
  }

  /** Updates the list of nodes. A new or recreated node starts at zero. */
  observe(nodes: readonly { name: string; uid: string }[], nowMs: number): void {
    const before = this.#observed;
    const seen = new Map<string, Observed>();
    for (const { name, uid } of nodes) {
      const known = before?.get(name);
      seen.set(name, known?.uid === uid ? known : { uid, atMs: before ? nowMs : this.#sinceMs });
    }
    this.#observed = seen;
    for (const name of this.#received.keys()) if (!seen.has(name)) this.#received.delete(name);
  }

  /** Milliseconds without a heartbeat, of an observed node. */
  silentMs(name: string, nowMs: number): number {
    return (
      nowMs - Math.max(this.#observed?.get(name)?.atMs ?? nowMs, this.#received.get(name) ?? Number.NEGATIVE_INFINITY)
    );
  }

  /** True if a heartbeat arrived during the watch. */
  hasReported(name: string): boolean {
    return (this.#received.get(name) ?? Number.NEGATIVE_INFINITY) >= (this.#observed?.get(name)?.atMs ?? 0);
  }
}
