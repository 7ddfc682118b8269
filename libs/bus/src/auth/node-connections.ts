/**
 * The connections of nodes, as the servers of the bus list them, and how to end one. bus-auth uses
 * it: nats-server limits the connections of an account, not those of a user.
 *
 * Requests go to the servers' own account, which only the account of bus-auth imports from
 * (accounts.ts). Every server responds for itself. Servers whose configuration is older refuse them.
 *
 * A list has only the newest closed connections of a server, of all accounts: everyone who reaches its port can have it
 * forget one at once. So bus-auth also receives the event with which a server reports the end of a connection.
 *
 * A server counts the messages of a read of up to 64 KiB after it has processed all of them, so none of a read in
 * which it ends the connection. No client causes such an end (`isMalformed`), nor a login that the server refuses
 * without bus-auth: from 2.15 on, it then reports neither the connection nor its end.
 *
 * Nor does it count a read during which the connection ends because a write failed (`isReset`), which a client can
 * cause: it resets the connection while the server responds.
 *
 * A list does not say who logged in: a connection that sends CONNECT again is listed under the user of
 * that line until the server has refused it. So bus-auth remembers which login it granted, and its
 * replicas publish it to each other.
 */
import { RecentMap } from '@bailiff/service/recent-map';
import { errors } from '@nats-io/nats-core';
import type { Bus, BusStatus } from '../connection/connect.ts';
import { type BusError, toBusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import { ReplyInbox, randomToken } from '../connection/reply-inbox.ts';
import { FIXED_ROLES } from '../topology/identities.ts';
import {
  ADMITTED_SUBJECT,
  connectionsSubject,
  EVENT_SUBJECTS,
  endedSubject,
  FLOODING_SUBJECT,
  kickSubject,
  REFUSED_LOGIN_SUBJECT,
  REPLICA_SUBJECTS,
  WATCHED_ACCOUNTS,
} from './permissions.ts';

/** Connections of an account that a server lists: more than nodes have. Each takes 0.5 kB of a response. */
const MAX_LISTED = 16_384;
/** Open connections, and the newest closed ones (MAX_CLOSED_CLIENTS). */
const OPEN_AND_CLOSED = 2;
/** Why the server closes a connection that does not read what it requests. */
const SLOW = 'Slow Consumer';
/** That more than `max_pending` was left to send, not that a write took too long. */
const PENDING = `${SLOW} (Pending Bytes)`;
const WRITE_FAILED = 'Write Error';
/** Why it closes a connection while it processes what the client sent. */
const MALFORMED: readonly string[] = [
  'Protocol Violation',
  'Parse Error',
  'Maximum Control Line Exceeded',
  'Maximum Message Payload Exceeded',
  'Message Header Violation',
];
/**
 * What was left to send to such a connection, from which on it is an attack: a collector on a slow line
 * has requested at most its lists of 512 KiB each and a value of the configuration.
 */
export const MAX_UNREAD_BYTES = 4 * 1024 ** 2;
/** Requests whose responses are read: those of ten seconds. A server that is flooded responds late. */
const MAX_REQUESTS = 40 * WATCHED_ACCOUNTS.length;

/** Users of the servers' configuration, whose logins they check without bus-auth. */
const FIXED_USERS: readonly string[] = [...FIXED_ROLES, 'bus-auth'];

/** What a server refuses whose configuration is older. */
const OWN_SUBJECTS: readonly string[] = [
  ...WATCHED_ACCOUNTS.map(connectionsSubject),
  ...EVENT_SUBJECTS,
  ...REPLICA_SUBJECTS,
];

export interface NodeConnection {
  /** Unique on its server. */
  id: number;
  /** As the client named itself last: `collector-<node>` or `push-<node>`, maybe of another node. */
  user: string;
  /** Address of the client. */
  host: string;
  /** Milliseconds since 1970. */
  sinceMs: number;
  /** Messages that the client has sent, and their bytes. */
  messages: number;
  sentBytes: number;
  /** Bytes that the server has queued for it. */
  bytes: number;
  isClosed: boolean;
  /** It is closed because it left more than MAX_UNREAD_BYTES unread. */
  isSlow: boolean;
  /** It is closed because of what it sent. The server did not count its last messages. */
  isMalformed: boolean;
}

/** The connections of one account on one server. */
export interface ListedConnections {
  server: string;
  account: string;
  /** Clock of the server, milliseconds since 1970. */
  atMs: number;
  /** Open ones, and the newest closed ones. */
  connections: NodeConnection[];
}

/** A connection that has ended. */
export interface EndedConnection {
  server: string;
  account: string;
  connection: NodeConnection;
  /** A write to it failed. The server may not have counted its last messages. */
  isReset: boolean;
}

/** A login that a server refused without bus-auth, also one on a connection that had logged in. */
export interface RefusedLogin {
  server: string;
  id: number;
  /** As the client named itself. */
  user: string;
  host: string;
}

/** A login that bus-auth granted. */
export interface AdmittedConnection {
  server: string;
  account: string;
  id: number;
  user: string;
}

export interface ConnectionWatchOptions {
  onList(list: ListedConnections): void;
  onConnectionEnd(ended: EndedConnection): void;
  onRefusedLogin(login: RefusedLogin): void;
  /** A replica has granted a login; this one too. */
  onAdmitted(connection: AdmittedConnection): void;
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
      in_bytes: number;
      out_bytes: number;
      pending_bytes: number;
      authorized_user?: string;
      reason?: string;
    }[];
  };
}

interface EndEvent {
  server: { id: string };
  client: { id: number; host?: string; start: string; user?: string };
  /** By the client. */
  sent: { msgs: number; bytes: number };
  received: { bytes: number };
  reason?: string;
}

export class ConnectionWatch {
  readonly #bus: Bus;
  readonly #inbox: ReplyInbox;
  readonly #options: ConnectionWatchOptions;
  /** Account by the last token of the reply subject, of the newest MAX_REQUESTS requests. */
  readonly #requested = new RecentMap<string, string>(MAX_REQUESTS);
  /** Subscriptions that the server refused; repeated with the next request, because it may be reloaded. */
  readonly #refused: (() => void)[] = [];
  readonly #onStatus = (status: BusStatus) => this.#judgeStatus(status);

  constructor(bus: Bus, options: ConnectionWatchOptions) {
    this.#bus = bus;
    this.#options = options;
    this.#inbox = new ReplyInbox(bus.inboxPrefix);
    this.#listen(this.#inbox.filter, (message) => this.#onResponse(message));
    this.#listen(FLOODING_SUBJECT, (message) => options.onFlooding(Buffer.from(message.data).toString('utf8')));
    this.#listen(ADMITTED_SUBJECT, (message) => options.onAdmitted(message.json<AdmittedConnection>()));
    for (const account of WATCHED_ACCOUNTS)
      this.#listen(endedSubject(account), (message) => this.#onEnd(account, message.json<EndEvent>()));
    this.#listen(REFUSED_LOGIN_SUBJECT, (message) => this.#onRefusedLogin(message.json<EndEvent>()));
    bus.statusListeners.add(this.#onStatus);
  }

  /** Requests the lists of all servers. */
  request(): void {
    for (const listen of this.#refused.splice(0)) listen();
    const body = JSON.stringify({ auth: true, limit: MAX_LISTED, state: OPEN_AND_CLOSED });
    for (const account of WATCHED_ACCOUNTS) {
      const token = randomToken();
      this.#requested.set(token, account);
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

  /** Reports a login to all replicas, before the server gets the grant. */
  reportAdmitted(connection: AdmittedConnection): void {
    this.#publish(ADMITTED_SUBJECT, JSON.stringify(connection));
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
      if (!error) onMessage(message);
      else {
        this.#refused.push(() => this.#listen(subject, onMessage));
        this.#options.onRefused(toBusError(error, subject));
      }
    });
  }

  #onResponse(message: Incoming): void {
    const account = this.#requested.get(this.#inbox.tokenOf(message.subject));
    // A 503 without data: no server responds.
    if (account === undefined || message.data.length === 0) return;
    const { data } = message.json<Listed>();
    if (!data) return;
    this.#options.onList({
      server: data.server_id,
      account,
      atMs: Date.parse(data.now),
      connections: (data.connections ?? []).map(({ reason = '', ...one }) => ({
        id: one.cid,
        user: one.authorized_user ?? '',
        host: one.ip,
        sinceMs: Date.parse(one.start),
        messages: one.in_msgs,
        sentBytes: one.in_bytes,
        bytes: one.out_bytes,
        isClosed: reason !== '',
        isSlow: reason.startsWith(SLOW) && one.pending_bytes > MAX_UNREAD_BYTES,
        isMalformed: MALFORMED.includes(reason),
      })),
    });
  }

  #onEnd(account: string, { server, client, sent, received, reason = '' }: EndEvent): void {
    this.#options.onConnectionEnd({
      server: server.id,
      account,
      isReset: reason === WRITE_FAILED,
      connection: {
        id: client.id,
        user: client.user ?? '',
        host: client.host ?? '',
        sinceMs: Date.parse(client.start),
        messages: sent.msgs,
        sentBytes: sent.bytes,
        bytes: received.bytes,
        isClosed: true,
        isSlow: reason === PENDING,
        isMalformed: MALFORMED.includes(reason),
      },
    });
  }

  #onRefusedLogin({ server, client: { id, user = '', host = '' } }: EndEvent): void {
    if (FIXED_USERS.includes(user)) this.#options.onRefusedLogin({ server: server.id, id, user, host });
  }

  #judgeStatus(status: BusStatus): void {
    if (status.type !== 'error' || status.error.code !== 'BUS_PERMISSION') return;
    // The server refuses late responses to logins too, which says nothing about the lists.
    const { cause } = status.error;
    const isOther = cause instanceof errors.PermissionViolationError && !OWN_SUBJECTS.includes(cause.subject);
    if (!isOther) this.#options.onRefused(status.error);
  }
}
