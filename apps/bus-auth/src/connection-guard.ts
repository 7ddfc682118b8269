/**
 * Keeps nodes to their share of connections: reads the lists of all servers, ends connections, and
 * remembers users that flooded the bus. Their logins get no response for PENALTY_MS.
 *
 * Every replica does it. A connection that another replica has ended already is no error. On servers
 * whose configuration is older, it is off: `bailiff_bus_auth_connections_watched` is 0.
 */
import { type Bus, NODE_ROLES, userOf } from '@bailiff/bus';
import {
  type AdmittedConnection,
  type AuthRequest,
  ConnectionWatch,
  type EndedConnection,
  type RefusedLogin,
} from '@bailiff/bus/auth';
import type { InstanceStatus } from '@bailiff/schemas';
import { type Clock, type RateLimitedLog, RecentMap } from '@bailiff/service';
import { ConnectionShares, KEPT_OUT, type REASONS } from './connection-shares.ts';
import { EndedNodes } from './ended-nodes.ts';
import { SourceBudgets } from './limits.ts';
import type { Metrics } from './metrics.ts';

/** Shortest interval of the lists: what a node sends meanwhile may be in the memory of a server. */
const LIST_MS = 250;
/**
 * With more connections, the lists come less often. A list takes about 4 µs of a processor for each
 * connection, on the server and here: so they take about two percent of one here, and on a server for
 * each replica.
 */
const CONNECTIONS_PER_MS = 5;
/** A server that has not responded is not asked again for this long: a list costs it work. */
const RESPONSE_MS = 5_000;
/** After a refusal: someone may reload the servers. */
const REFUSED_MS = 60_000;
/** Servers that send no list for this long after it was requested list none. */
const STALE_MS = 10_000;
export const PENALTY_MS = 60_000;
/**
 * Connections of a user that a failed write ends, in a minute. Each may have sent a read of 64 KiB that the server
 * did not count, some 1,600 messages. A collector that the kubelet restarts again and again has four.
 */
export const MAX_RESETS_PER_MINUTE = 6;
/**
 * Connections of a user that end as `heavy` or `too-many`, in a minute. The server did not count the read in which one
 * ends, some 650 requests: 65 a second on average, fewer than the 80 of the largest size that NODE_BYTES_PER_SECOND allows.
 * Another node can cause the former, so the user is not kept out for longer than its share requires.
 */
export const MAX_ENDS_PER_MINUTE = 6;
/** Users that are remembered. Only holders of a token of their node get one. */
const MAX_FLOODING = 4_096;

export interface ConnectionGuardOptions {
  bus: Bus;
  metrics: Metrics;
  log: RateLimitedLog;
  clock: Clock;
  /** Connections were ended. */
  onEnded(): void;
}

export class ConnectionGuard {
  readonly #o: ConnectionGuardOptions;
  readonly #shares = new ConnectionShares();
  readonly #watch: ConnectionWatch;
  /** Until when the logins of a user get no response. */
  readonly #flooding = new RecentMap<string, number>(MAX_FLOODING);
  readonly #ended = new EndedNodes();
  readonly #resets = new SourceBudgets(MAX_RESETS_PER_MINUTE);
  readonly #ends = new SourceBudgets(MAX_ENDS_PER_MINUTE);
  readonly #stop: () => void;
  #listedMs = Number.NEGATIVE_INFINITY;
  #requestedMs = Number.NEGATIVE_INFINITY;
  /** The first request since the last response. A process that was stopped has not asked. */
  #unansweredMs = Number.NEGATIVE_INFINITY;
  /** Connections in the responses to the last request. */
  #listed = 0;
  #pausedUntilMs = 0;

  constructor(options: ConnectionGuardOptions) {
    const { bus, clock } = options;
    this.#o = options;
    this.#watch = new ConnectionWatch(bus, {
      onList: (list) => {
        this.#listedMs = clock.monotonicMs();
        this.#listed += list.connections.length;
        this.#end(list);
      },
      onConnectionEnd: (ended) => this.#onConnectionEnd(ended),
      onRefusedLogin: (login) => void this.#endSecondLogin(login),
      onAdmitted: (connection) => this.#shares.admit(connection, clock.monotonicMs()),
      onFlooding: (user) => this.#penalize(user),
      onRefused: (err) => {
        this.#pausedUntilMs = clock.monotonicMs() + REFUSED_MS;
        options.log.warn(
          'connections',
          { err },
          'the servers do not list the connections of nodes: render nats.conf again',
        );
      },
    });
    this.#stop = clock.setRepeating(() => this.#request(), LIST_MS);
  }

  /** Whether the servers list connections. */
  get isWatching(): boolean {
    const { bus, clock } = this.#o;
    if (!bus.connected || this.#listedMs === Number.NEGATIVE_INFINITY) return false;
    return this.#listedMs >= this.#requestedMs || clock.monotonicMs() - this.#unansweredMs < STALE_MS;
  }

  /** Whether logins of a user get no response. */
  isFlooding(user: string): boolean {
    return this.#leftMs(user) > 0 || this.#ends.isOver(user, this.#o.clock.monotonicMs());
  }

  /** What `bailiff status` shows. */
  status(): NonNullable<InstanceStatus['nodeConnections']> {
    const nowMs = this.#o.clock.nowMs();
    const keptOutUntilMs = (node: string) => {
      const leftMs = Math.max(...NODE_ROLES.map((role) => this.#leftMs(userOf({ role, node }))));
      return leftMs > 0 ? nowMs + leftMs : undefined;
    };
    return { watched: this.isWatching, ended: this.#ended.list(nowMs, keptOutUntilMs) };
  }

  #leftMs(user: string): number {
    return (this.#flooding.get(user) ?? 0) - this.#o.clock.monotonicMs();
  }

  /** Called before the server gets the grant, so that no list is older. */
  admit(connection: AdmittedConnection): void {
    this.#shares.admit(connection, this.#o.clock.monotonicMs());
    this.#watch.reportAdmitted(connection);
  }

  /**
   * Whether a connection that has logged in logs in again. Its user then gets no logins, whatever the second one
   * contains: the refusal ends the connection, and the server may not list what it sent.
   */
  isSecondLogin({ serverId: server, connectionId: id, clientHost: host, user }: AuthRequest): boolean {
    return this.#endSecondLogin({ server, id, host, user });
  }

  #endSecondLogin({ user: named, host, ...connection }: RefusedLogin): boolean {
    const user = this.#shares.userOn(connection);
    if (user === null) return false;
    this.#record({ user, named, host, reason: 'second-login' });
    this.#keepOut(user);
    this.#o.onEnded();
    return true;
  }

  close(): void {
    this.#stop();
    this.#watch.close();
  }

  #request(): void {
    const nowMs = this.#o.clock.monotonicMs();
    if (!this.#o.bus.connected || nowMs < this.#pausedUntilMs) return;
    const sinceMs = nowMs - this.#requestedMs;
    if (this.#listedMs < this.#requestedMs && sinceMs < RESPONSE_MS) return;
    if (sinceMs < this.#listed / CONNECTIONS_PER_MS) return;
    this.#listed = 0;
    if (this.#listedMs >= this.#requestedMs) this.#unansweredMs = nowMs;
    this.#requestedMs = nowMs;
    this.#watch.request();
  }

  #onConnectionEnd({ isReset, ...ended }: EndedConnection): void {
    this.#shares.addEnded(ended);
    const { server, connection } = ended;
    const user = isReset ? this.#shares.userOn({ server, id: connection.id }) : null;
    if (user === null) return;
    const nowMs = this.#o.clock.monotonicMs();
    this.#resets.count(user, nowMs);
    if (!this.#resets.isOver(user, nowMs)) return;
    this.#record({ user, named: connection.user, host: connection.host, reason: 'reset' });
    this.#keepOut(user);
    this.#o.onEnded();
  }

  #end(list: Parameters<ConnectionShares['judge']>[0]): void {
    const nowMs = this.#o.clock.monotonicMs();
    const excess = this.#shares.judge(list, nowMs);
    for (const { server, connection, user, reason } of excess) {
      this.#watch.kick(server, connection.id);
      if (!KEPT_OUT.includes(reason) && user !== null) this.#ends.charge(user, nowMs);
      this.#record({ user, named: connection.user, host: connection.host, reason });
    }
    const keptOut = excess.flatMap(({ user, reason }) => (KEPT_OUT.includes(reason) && user !== null ? user : []));
    for (const user of new Set(keptOut)) this.#keepOut(user);
    if (excess.length > 0) this.#o.onEnded();
  }

  /** @param one `named`: the user as the client named itself last */
  #record(one: { user: string | null; named: string; host: string; reason: (typeof REASONS)[number] }): void {
    const { metrics, log, clock } = this.#o;
    const { user, reason } = one;
    const named = one.named.slice(0, 300);
    this.#ended.add(one, clock.nowMs());
    metrics.connectionsEnded.inc({ reason });
    log.warn(`${reason} ${user ?? named}`, { ...one, named }, 'ended a connection of a node');
  }

  #keepOut(user: string): void {
    this.#penalize(user);
    this.#watch.reportFlooding(user);
  }

  #penalize(user: string): void {
    this.#flooding.set(user, this.#o.clock.monotonicMs() + PENALTY_MS);
  }
}
