/**
 * Share of each source in the connections of one listener. Pure: the caller closes what it returns.
 *
 * A new connection is always admitted. At a limit, an older one is closed instead: of the same
 * source at the limit of a source, of the source with the most connections at the limit of all. So
 * a source that keeps connections open cannot keep another source out.
 *
 * With `idleFirst`, the source with the most idle connections comes first at the limit of all. This fits
 * listeners whose long requests are admitted: then only admitted clients have busy connections.
 */

export interface ConnectionLimits {
  perSource: number;
  total: number;
  idleFirst?: boolean;
}

/** Why an older connection is closed. */
export type ShareReason = 'source-share' | 'all-shares';

export interface Displaced<C> {
  connection: C;
  reason: ShareReason;
}

export class ConnectionShares<C> {
  readonly #limits: ConnectionLimits;
  /** Connections by source, oldest first. The value is true while a request is answered. */
  readonly #sources = new Map<string, Map<C, boolean>>();
  #count = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a connection. @returns the connection to close, if a limit is exceeded */
  add(source: string, connection: C): Displaced<C> | null {
    const own = this.#sources.get(source) ?? new Map<C, boolean>();
    this.#sources.set(source, own);
    own.set(connection, false);
    this.#count += 1;
    if (own.size > this.#limits.perSource) return this.#displace(source, connection, 'source-share');
    if (this.#count > this.#limits.total) return this.#displace(this.#largest(connection), connection, 'all-shares');
    return null;
  }

  /** A request of this connection is answered: idle connections are closed before it. */
  setBusy(source: string, connection: C, isBusy = true): void {
    const own = this.#sources.get(source);
    if (own?.has(connection)) own.set(connection, isBusy);
  }

  remove(source: string, connection: C): void {
    const own = this.#sources.get(source);
    if (!own?.delete(connection)) return;
    this.#count -= 1;
    if (own.size === 0) this.#sources.delete(source);
  }

  #displace(source: string, added: C, reason: ShareReason): Displaced<C> | null {
    const older = [...(this.#sources.get(source) ?? [])].filter(([connection]) => connection !== added);
    const [connection] = older.find(([, busy]) => !busy) ?? older[0] ?? [];
    if (connection === undefined) return null;
    this.remove(source, connection);
    return { connection, reason };
  }

  #largest(added: C): string {
    const isIdle = ([connection, isBusy]: [C, boolean]) => !isBusy && connection !== added;
    const bySize = (sizeOf: (own: ReadonlyMap<C, boolean>) => number) => {
      let largest = '';
      let size = 0;
      for (const [source, own] of this.#sources) if (sizeOf(own) > size) [largest, size] = [source, sizeOf(own)];
      return largest;
    };
    const idle = this.#limits.idleFirst ? bySize((own) => [...own].filter(isIdle).length) : '';
    return idle || bySize(({ size }) => size);
  }
}
