/**
 * Time since each node's last heartbeat, by the clock of this process. It counts from the latest
 * of: start of the watch, first observation of the node, its last status. So clocks of different
 * machines are never compared, and a new watch starts at zero. Pure: times are passed in. One entry
 * per node.
 */
interface Seen {
  uid: string;
  atMs: number;
}

export class Silence {
  readonly #sinceMs: number;
  readonly #heard = new Map<string, number>();
  /** null before the first call of `observe`. */
  #seen: Map<string, Seen> | null = null;

  /** @param sinceMs start of the watch, on a monotonic clock */
  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs;
  }

  heard(name: string, atMs: number): void {
    this.#heard.set(name, atMs);
  }

  /** Updates the list of nodes. A new or recreated node starts at zero. */
  see(nodes: readonly { name: string; uid: string }[], nowMs: number): void {
    const before = this.#seen;
    const seen = new Map<string, Seen>();
    for (const { name, uid } of nodes) {
      const known = before?.get(name);
      seen.set(name, known?.uid === uid ? known : { uid, atMs: before ? nowMs : this.#sinceMs });
    }
    this.#seen = seen;
    for (const name of this.#heard.keys()) if (!seen.has(name)) this.#heard.delete(name);
  }

  /** Milliseconds without a heartbeat, of an observed node. */
  silentMs(name: string, nowMs: number): number {
    return nowMs - Math.max(this.#seen?.get(name)?.atMs ?? nowMs, this.#heard.get(name) ?? Number.NEGATIVE_INFINITY);
  }

  /** True if a heartbeat arrived during the watch. */
  hasSpoken(name: string): boolean {
    return (this.#heard.get(name) ?? Number.NEGATIVE_INFINITY) >= (this.#seen?.get(name)?.atMs ?? 0);
  }
}
