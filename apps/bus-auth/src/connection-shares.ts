/**
 * Which connections of nodes end: those beyond the share of their user, and all of a user that
 * floods the bus. Pure: lists of the servers in, connections out.
 *
 * While nats-server serves direct gets, responses wait in its memory without a limit, as soon as two
 * connections send requests faster than it responds. A connection that reads nothing holds up to
 * MAX_PENDING_BYTES more. The share of logins limits how fast a node connects, not how many of its
 * connections exist.
 */
import type { ListedConnections, NodeConnection } from '@bailiff/bus/auth';

/** Of a user: a collector has one for each of its two users, and for a moment its former one. */
export const MAX_CONNECTIONS_PER_USER = 4;
/**
 * Messages of a user in a second. A collector that starts reads the configuration key by key: 2,048
 * at most, one after the other. A connection that waits for nothing sends more than 10,000.
 */
export const MAX_MESSAGES_PER_SECOND = 4_000;
/** Bytes to a user in a second. A collector that starts reads three lists and the configuration. */
export const MAX_BYTES_PER_SECOND = 64 * 1024 ** 2;
/** Rates over a shorter time are not judged: two lists may arrive at once. */
const MIN_INTERVAL_MS = 500;
/** A server that is gone lists nothing any more. */
const STALE_MS = 10_000;

export const REASONS = ['too-many', 'flooding'] as const;

export interface Excess {
  server: string;
  connection: NodeConnection;
  reason: (typeof REASONS)[number];
}

interface Known {
  server: string;
  connection: NodeConnection;
  /** In a second, since the list before. */
  messageRate: number;
  byteRate: number;
  /** It was to end already. The server closes one that does not read after its write deadline. */
  isEnded: boolean;
}

interface KnownList {
  atMs: number;
  receivedMs: number;
  connections: Map<number, Known>;
}

export class ConnectionShares {
  /** Newest list by account and server. */
  readonly #lists = new Map<string, KnownList>();

  /** @param receivedMs monotonic @returns the connections that end, of users in this list */
  judge({ server, account, atMs, connections }: ListedConnections, receivedMs: number): Excess[] {
    for (const [key, list] of this.#lists) if (receivedMs - list.receivedMs > STALE_MS) this.#lists.delete(key);
    const key = `${account} ${server}`;
    const former = this.#lists.get(key);
    const elapsedMs = former ? atMs - former.atMs : Number.POSITIVE_INFINITY;
    if (elapsedMs < MIN_INTERVAL_MS) return [];
    const known = new Map<number, Known>();
    for (const connection of connections) {
      const before = former?.connections.get(connection.id);
      const rate = (now: number, then = 0) => ((now - then) * 1_000) / elapsedMs;
      known.set(connection.id, {
        server,
        connection,
        isEnded: before?.isEnded ?? false,
        messageRate: rate(connection.messages, before?.connection.messages),
        byteRate: rate(connection.bytes, before?.connection.bytes),
      });
    }
    // A slow one that this process did not know may have been judged by its predecessor.
    if (!former) for (const one of known.values()) if (one.connection.isSlow) one.isEnded = true;
    this.#lists.set(key, { atMs, receivedMs, connections: known });
    const users = new Set(connections.map(({ user }) => user));
    // Pushes are no responses: a collector that is starved may be slow to read them.
    const sendsRequests = account === 'NODES';
    return [...users].flatMap((user) => excessOf(this.#of(user), sendsRequests));
  }

  /** Connections of a user on all servers that were not to end yet. */
  #of(user: string): Known[] {
    return [...this.#lists.values()].flatMap(({ connections }) =>
      [...connections.values()].filter((one) => one.connection.user === user && !one.isEnded),
    );
  }
}

function end(ended: Known, reason: Excess['reason']): Excess {
  ended.isEnded = true;
  return { server: ended.server, connection: ended.connection, reason };
}

function excessOf(all: readonly Known[], sendsRequests: boolean): Excess[] {
  const sum = (of: (one: Known) => number) => all.reduce((total, one) => total + of(one), 0);
  const isFlooding =
    all.some(({ connection }) => connection.isSlow) ||
    sum(({ messageRate }) => messageRate) > MAX_MESSAGES_PER_SECOND ||
    sum(({ byteRate }) => byteRate) > MAX_BYTES_PER_SECOND;
  if (sendsRequests && isFlooding) return all.map((one) => end(one, 'flooding'));
  // The oldest ones of the address that has most: the collector of a stolen token keeps its own.
  const left = all.toSorted((a, b) => a.connection.sinceMs - b.connection.sinceMs);
  const excess: Excess[] = [];
  while (left.length > MAX_CONNECTIONS_PER_USER) {
    const countOf = ({ connection }: Known) => left.filter((other) => other.connection.host === connection.host).length;
    const most = Math.max(...left.map(countOf));
    const at = left.findIndex((one) => countOf(one) === most);
    excess.push(...left.splice(at, 1).map((one) => end(one, 'too-many')));
  }
  return excess;
}
