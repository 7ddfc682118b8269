/**
 * The connections of nodes, as the servers of the bus list them, and how to end one. bus-auth uses
 * it: nats-server limits the connections of an account, not those of a user.
 *
 * Requests go to the servers' own account, which only the account of bus-auth imports from
 * (accounts.ts). Every server responds for itself. Servers whose configuration is older refuse them.
 */
import type { Bus, BusStatus } from '../connection/connect.ts';
import { type BusError, toBusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import { ReplyInbox, randomToken } from '../connection/reply-inbox.ts';
import { connectionsSubject, FLOODING_SUBJECT, kickSubject, WATCHED_ACCOUNTS } from './permissions.ts';

/** Connections of an account that a server lists: more than nodes have. Each takes 0.5 kB of a response. */
const MAX_LISTED = 16_384;
/** Open connections, and the newest closed ones (MAX_CLOSED_CLIENTS). */
const OPEN_AND_CLOSED = 2;
/** Why the server closes a connection that does not read what it requests. */
const SLOW = 'Slow Consumer';

export interface NodeConnection {
  /** Unique on its server. */
  id: number;
  /** `collector-<node>` or `push-<node>`. */
  user: string;
  /** Address of the client. */
  host: string;
  /** Milliseconds since 1970. */
  sinceMs: number;
  /** Messages that the client has sent. */
  messages: number;
  /** Bytes that the server has queued for it. */
  bytes: number;
  /** It is closed, because it did not read. */
  isSlow: boolean;
}

/** The connections of one account on one server. */
export interface ListedConnections {
  server: string;
  account: string;
  /** Clock of the server, milliseconds since 1970. */
  atMs: number;
  /** Open ones, and those that were closed because they did not read. */
  connections: NodeConnection[];
}

export interface ConnectionWatchOptions {
  onList(list: ListedConnections): void;
  /** A replica has found a user that floods the bus; this one too. */
  onFlooding(user: string): void;
  /** The server refuses the requests. */
  onRefused(error: BusError): void;
}

interface Listed {
  data?: {
    server_id: string;
    now: string;
    connections?: {
      cid: number;
      ip: string;
      start: string;
      in_msgs: number;
      out_bytes: number;
      authorized_user?: string;
      reason?: string;
    }[];
  };
}

export class ConnectionWatch {
  readonly #bus: Bus;
  readonly #inbox: ReplyInbox;
  readonly #options: ConnectionWatchOptions;
  /** Last token of the reply subject of the newest request for an account. */
  readonly #requested = new Map<string, string>();
  readonly #onStatus = (status: BusStatus) => this.#judgeStatus(status);

  constructor(bus: Bus, options: ConnectionWatchOptions) {
    this.#bus = bus;
    this.#options = options;
    this.#inbox = new ReplyInbox(bus.inboxPrefix);
    this.#listen(this.#inbox.filter, (message) => this.#onResponse(message));
    this.#listen(FLOODING_SUBJECT, (message) => options.onFlooding(Buffer.from(message.data).toString('utf8')));
    bus.statusListeners.add(this.#onStatus);
  }

  /** Requests the lists of all servers. */
  request(): void {
    const body = JSON.stringify({ auth: true, limit: MAX_LISTED, state: OPEN_AND_CLOSED });
    for (const account of WATCHED_ACCOUNTS) {
      const token = randomToken();
      this.#requested.set(account, token);
      this.#publish(connectionsSubject(account), body, this.#inbox.subject(token));
    }
  }

  /** Ends a connection. The next list shows whether it is gone; a server ignores a request without a reply subject. */
  kick(server: string, id: number): void {
    this.#publish(kickSubject(server), JSON.stringify({ cid: id }), this.#inbox.subject(randomToken()));
  }

  /** Reports a user to all replicas. */
  reportFlooding(user: string): void {
    this.#publish(FLOODING_SUBJECT, user);
  }

  close(): void {
    this.#bus.statusListeners.delete(this.#onStatus);
  }

  #publish(subject: string, body: string, reply?: string): void {
    const { nc } = this.#bus;
    if (!nc.isClosed()) nc.publish(subject, body, reply === undefined ? {} : { reply });
  }

  #listen(subject: string, onMessage: (message: Incoming) => void): void {
    subscribe(this.#bus, subject, (error, message) => {
      if (error) this.#options.onRefused(toBusError(error, subject));
      else onMessage(message);
    });
  }

  #onResponse(message: Incoming): void {
    const token = this.#inbox.tokenOf(message.subject);
    const account = WATCHED_ACCOUNTS.find((name) => this.#requested.get(name) === token);
    // A 503 without data: no server responds.
    if (account === undefined || message.data.length === 0) return;
    const { data } = message.json<Listed>();
    if (!data) return;
    this.#options.onList({
      server: data.server_id,
      account,
      atMs: Date.parse(data.now),
      connections: (data.connections ?? []).flatMap(({ reason, ...one }) => {
        const isSlow = reason?.startsWith(SLOW) ?? false;
        if (reason !== undefined && !isSlow) return [];
        return [
          {
            id: one.cid,
            user: one.authorized_user ?? '',
            host: one.ip,
            sinceMs: Date.parse(one.start),
            messages: one.in_msgs,
            bytes: one.out_bytes,
            isSlow,
          },
        ];
      }),
    });
  }

  #judgeStatus(status: BusStatus): void {
    if (status.type === 'error' && status.error.code === 'BUS_PERMISSION') this.#options.onRefused(status.error);
  }
}
