/**
 * Which connections of nodes end: those beyond the share of their user, and all of a user that
 * floods the bus. Pure: lists of the servers in, connections out.
 *
 * While nats-server serves direct gets, responses wait in its memory without a limit, as soon as two
 * connections send requests faster than it responds. So do messages, before 2.11, that it reads faster
 * than it stores them. A connection that reads nothing holds up to MAX_PENDING_BYTES more. The share of
 * logins limits how fast a node connects, not how many of its connections exist. A connection that the
 * client has closed counts as well, so that a flood in short connections is seen, also where the lists no longer
 * have it.
 *
 * A connection counts for the user whose login was granted, not for the one that the list names: its
 * client chooses that name. One that logged in before this process started is judged alone, and no
 * user is blamed for it.
 *
 * Only by more messages than a collector sends does a user become a flooding one, which must not log in. Another
 * node can name its inbox as the reply subject of requests, and so cause the bytes that the server sends to it or
 * cannot send. A list does not say who requested them, nor whether the user's own messages were requests or frames.
 */
import {
  NODE_BYTES_PER_SECOND,
  NODE_INTERVAL_MS,
  NODE_MESSAGES_PER_SECOND,
  NODE_SENT_BYTES_PER_SECOND,
  WATCHED_ACCOUNTS,
} from '@bailiff/bus';
import type { AdmittedConnection, EndedConnection, ListedConnections, NodeConnection } from '@bailiff/bus/auth';
import { RecentMap } from '@bailiff/service';

/** Of a user: a collector has one for each of its two users, and for a moment its former one. */
export const MAX_CONNECTIONS_PER_USER = 4;
/** A server that is gone lists nothing any more; nor is a connection listed that ended meanwhile. */
const STALE_MS = 10_000;
/** Servers, by account, whose granted logins are remembered. */
const MAX_SERVERS = 64;
/** Granted logins of one of them, and connections that ended: as many as a list has connections. */
const MAX_ADMITTED = 16_384;

/**
 * `heavy`: receives more than a collector requests; its user has a share of them. `second-login`: no client logs in
 * again on a connection, and from 2.15 on the server then lists its flood under no account. `malformed`: no client
 * sends what ends its connection, and the server does not count the messages before it. `reset`: likewise, in
 * connections that fail again and again.
 */
export const REASONS = ['too-many', 'flooding', 'heavy', 'malformed', 'reset', 'second-login'] as const;
/** Those for which a user gets no logins for a while. */
export const KEPT_OUT: readonly (typeof REASONS)[number][] = ['flooding', 'malformed', 'reset', 'second-login'];

export interface Excess {
  server: string;
  connection: NodeConnection;
  /** Who logged in; null: it is not known. */
  user: string | null;
  reason: (typeof REASONS)[number];
}

interface Known {
  server: string;
  connection: NodeConnection;
  /** User of the granted login; null: it is not known. */
  user: string | null;
  /** In a second, since the base list. */
  messageRate: number;
  sentByteRate: number;
  byteRate: number;
  /** Of the rates, the part that is within the time over which the list that is judged measures its own. */
  weight: number;
  /**
   * When it was to end; null: it was not. The server closes one that does not read after its write deadline. One
   * that stays open longer did not end, because the request for it was lost, and is judged again.
   */
  endedMs: number | null;
}

interface KnownList {
  /** Clock of the server. */
  atMs: number;
  /** The list of NODE_INTERVAL_MS ago or more, with which this one is compared. */
  base: { atMs: number; connections: ReadonlyMap<number, Known> };
  receivedMs: number;
  /** Time over which its rates are measured. */
  windowMs: number;
  connections: Map<number, Known>;
}

const placeOf = ({ account, server }: Pick<ListedConnections, 'account' | 'server'>) => `${account} ${server}`;

export class ConnectionShares {
  /** Newest list by account and server. */
  readonly #lists = new Map<string, KnownList>();
  /** Granted logins by account and server, then by number of the connection. */
  readonly #admitted = new RecentMap<string, Map<number, { user: string; atMs: number }>>(MAX_SERVERS);

  /** Connections that ended since the base list, by account and server, then by number. */
  readonly #ended = new RecentMap<string, Map<number, NodeConnection>>(MAX_SERVERS);

  /** Remembers a connection that ended: the lists may not have it. */
  addEnded({ connection, ...place }: Omit<EndedConnection, 'isReset'>): void {
    const key = placeOf(place);
    const ended = this.#ended.get(key) ?? new RecentMap<number, NodeConnection>(MAX_ADMITTED);
    this.#ended.set(key, ended);
    ended.set(connection.id, connection);
  }

  /** Remembers who logged in. @param atMs monotonic */
  admit({ id, user, ...place }: AdmittedConnection, atMs: number): void {
    const key = placeOf(place);
    const admitted = this.#admitted.get(key) ?? new RecentMap<number, { user: string; atMs: number }>(MAX_ADMITTED);
    this.#admitted.set(key, admitted);
    admitted.set(id, { user, atMs });
  }

  /** Who logged in on a connection; null: it is not known. */
  userOn({ server, id }: Pick<AdmittedConnection, 'server' | 'id'>): string | null {
    const users = WATCHED_ACCOUNTS.map((account) => this.#admitted.get(placeOf({ account, server }))?.get(id)?.user);
    return users.find((user) => user !== undefined) ?? null;
  }

  /** @param receivedMs monotonic @returns the connections that end, of users in this list */
  judge({ server, account, atMs, connections }: ListedConnections, receivedMs: number): Excess[] {
    for (const [key, list] of this.#lists) if (receivedMs - list.receivedMs > STALE_MS) this.#lists.delete(key);
    const key = placeOf({ account, server });
    const former = this.#lists.get(key);
    // A clock that was set back measures no time since the base list: this list is the next one.
    const isComparable = former !== undefined && atMs >= former.atMs;
    const elapsedMs = isComparable ? atMs - former.base.atMs : Number.POSITIVE_INFINITY;
    const windowMs = Math.max(elapsedMs, NODE_INTERVAL_MS);
    const known = new Map<number, Known>();
    const admitted = this.#admitted.get(key);
    const all = new Map(this.#ended.get(key));
    for (const connection of connections) all.set(connection.id, connection);
    for (const connection of all.values()) {
      const { id, isClosed } = connection;
      const endedMs = former?.connections.get(id)?.endedMs ?? null;
      const before = former?.base.connections.get(id)?.connection;
      const rate = (now: number, then = 0) => ((now - then) * 1_000) / windowMs;
      known.set(id, {
        server,
        connection,
        user: admitted?.get(id)?.user ?? null,
        endedMs: isClosed || receivedMs - (endedMs ?? 0) <= STALE_MS ? endedMs : null,
        messageRate: rate(connection.messages, before?.messages),
        sentByteRate: rate(connection.sentBytes, before?.sentBytes),
        byteRate: rate(connection.bytes, before?.bytes),
        weight: 1,
      });
    }
    // A closed one that this process did not know may have been judged by its predecessor.
    if (!former) for (const one of known.values()) if (one.connection.isClosed) one.endedMs = receivedMs;
    const isNext = !former || elapsedMs >= NODE_INTERVAL_MS;
    if (isNext) this.#ended.delete(key);
    const base = isNext ? { atMs, connections: known } : former.base;
    this.#lists.set(key, { atMs, base, receivedMs, windowMs, connections: known });
    for (const [id, { atMs: loginMs }] of admitted ?? [])
      if (receivedMs - loginMs > STALE_MS && !known.has(id)) admitted?.delete(id);
    // Pushes are no responses: a collector that is starved may be slow to read them.
    const getsResponses = account === 'NODES';
    return this.#groupsOf(known, receivedMs).flatMap((group) => excessOf(group, getsResponses, receivedMs));
  }

  /**
   * The open connections of each user of a list, on all servers, in one pass over all lists. A node whose server is
   * gone sends its messages to another one, so the rates of the last list of a server end with its window.
   */
  #groupsOf(known: ReadonlyMap<number, Known>, nowMs: number): Known[][] {
    const left = [...known.values()].filter(({ endedMs }) => endedMs === null);
    const groups = new Map(left.flatMap(({ user }): [string, Known[]][] => (user === null ? [] : [[user, []]])));
    for (const { connections, receivedMs, windowMs } of this.#lists.values()) {
      const weight = Math.max(0, 1 - (nowMs - receivedMs) / windowMs);
      for (const one of connections.values()) {
        one.weight = weight;
        if (one.user !== null && one.endedMs === null) groups.get(one.user)?.push(one);
      }
    }
    return [...left.flatMap((one) => (one.user === null ? [[one]] : [])), ...groups.values()];
  }
}

function end(ended: Known, reason: Excess['reason'], nowMs: number): Excess {
  ended.endedMs = nowMs;
  const { server, connection, user } = ended;
  return { server, connection, user, reason };
}

function excessOf(all: readonly Known[], getsResponses: boolean, nowMs: number): Excess[] {
  const sum = (of: (one: Known) => number) => all.reduce((total, one) => total + of(one) * one.weight, 0);
  const messages = sum(({ messageRate }) => messageRate);
  const sentBytes = sum(({ sentByteRate }) => sentByteRate);
  const isHeavy =
    getsResponses &&
    (sum(({ byteRate }) => byteRate) > NODE_BYTES_PER_SECOND || all.some(({ connection }) => connection.isSlow));
  // Also messages that the server refuses: each takes its time, and a line of its log.
  const isFlooding = messages > NODE_MESSAGES_PER_SECOND || sentBytes > NODE_SENT_BYTES_PER_SECOND;
  const isMalformed = all.some(({ connection }) => connection.isMalformed);
  const reason = isFlooding ? 'flooding' : isMalformed ? 'malformed' : isHeavy ? 'heavy' : null;
  if (reason !== null) return all.map((one) => end(one, reason, nowMs));
  // The oldest ones of the address that has most: the collector of a stolen token keeps its own.
  const open = all.filter(({ connection }) => !connection.isClosed);
  const left = open.toSorted((a, b) => a.connection.sinceMs - b.connection.sinceMs);
  const excess: Excess[] = [];
  while (left.length > MAX_CONNECTIONS_PER_USER) {
    const countOf = ({ connection }: Known) => left.filter((other) => other.connection.host === connection.host).length;
    const most = Math.max(...left.map(countOf));
    const at = left.findIndex((one) => countOf(one) === most);
    excess.push(...left.splice(at, 1).map((one) => end(one, 'too-many', nowMs)));
  }
  return excess;
}
