/**
 * For how long each node has said nothing, as this process itself heard it: since it began to listen, since it first saw the node, or since the
 * node's last status, whichever is latest. So no clock is compared with another's, and who has just begun to listen knows of no silence.
 * Pure but for the times that are passed in. One entry a node.
 */
interface Seen {
  uid: string;
  atMs: number;
}

export class Silence {
  readonly #sinceMs: number;
  readonly #heard = new Map<string, number>();
  /** null before the first look. */
  #seen: Map<string, Seen> | null = null;

  /** @param sinceMs when it began to listen, on a clock that never steps */
  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs;
  }

  /** A status of the node came. */
  heard(name: string, atMs: number): void {
    this.#heard.set(name, atMs);
  }

  /** The nodes there are: one that is new, or was made anew under its name, has been silent for no time yet. */
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

  /** Milliseconds, of a node that was seen. */
  silentMs(name: string, nowMs: number): number {
    return nowMs - Math.max(this.#seen?.get(name)?.atMs ?? nowMs, this.#heard.get(name) ?? Number.NEGATIVE_INFINITY);
  }

  /** Whether it has said anything while it was listened to. */
  hasSpoken(name: string): boolean {
    return (this.#heard.get(name) ?? Number.NEGATIVE_INFINITY) >= (this.#seen?.get(name)?.atMs ?? 0);
  }
}
