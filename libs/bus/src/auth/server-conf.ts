/**
 * Writes a nats.conf for nats-server 2.10 or later: JetStream, accounts with imports and exports,
 * and one user per identity; in a cluster also TLS, routes and auth callout.
 *
 * The lab, the tests and `bailiff credentials` write it to a file of mode 0600, because it holds
 * passwords. Values are quoted, so that `$KV` is not a variable. `auth_users` lists every fixed
 * user: the server checks their passwords itself, so they can log in while bus-auth is down.
 */
import assert from 'node:assert';
import { type Identity, userOf } from '../topology/identities.ts';
import {
  AUTH_TIMEOUT_S,
  DEFAULT_MAX_FILE_BYTES,
  DEFAULT_MAX_MEMORY_BYTES,
  MAX_CLOSED_CLIENTS,
  MAX_PAYLOAD_BYTES,
  MAX_PENDING_BYTES,
  MAX_SUBSCRIPTION_TOKENS,
  WRITE_DEADLINE_S,
} from '../topology/server-limits.ts';
import { ROOT } from '../topology/subjects.ts';
import { BUCKETS } from '../topology/topology.ts';
import {
  ACCOUNTS,
  type Account,
  accountOf,
  CONNECTION_LIMITS,
  CORE,
  EXPORTS,
  type Export,
  IMPORTS,
  type Import,
  MAX_CONNECTIONS,
  MAX_PAYLOADS,
  MAX_SUBSCRIPTIONS,
  RESPONSE_MS,
  SYSTEM,
} from './accounts.ts';
import { type Permissions, permissionsFor, publishRule } from './permissions.ts';

export interface NatsUser {
  user: string;
  account: Account;
  /** Plain or bcrypt ($2a$…), as nats-server accepts it. */
  password: string;
  permissions: Permissions;
}

/** A user with account and permissions of an identity. `password` as in NatsUser. */
export const natsUserFor = (identity: Identity, password: string): NatsUser => ({
  user: userOf(identity),
  account: accountOf(identity),
  password,
  permissions: permissionsFor(identity),
});

/** PEM files, as paths on the server. */
export interface TlsFiles {
  certFile: string;
  keyFile: string;
  caFile: string;
}

/** A cluster. Each server lists all, itself included, so that one file serves every replica. */
export interface ClusterConf {
  name: string;
  port: number;
  /** host:port of every server's route listener. */
  routes: readonly string[];
  /**
   * Route credentials in addition to certificates. The password is plain text, because each server
   * sends it to the others.
   */
  user: string;
  password: string;
  tls?: TlsFiles;
  /**
   * During a password change servers send the password but do not require it, so that servers with
   * the old and the new one connect. Only certificates protect the routes then, so this needs `tls`.
   */
  passwordChanges?: boolean;
}

export interface AuthCalloutConf {
  /** Public nkey of an account (A…) whose signature on user permissions the server trusts. */
  issuer: string;
  /** Public curve nkey (X…). Requests are sealed for it, because they hold tokens. */
  xkey: string;
  /** The user of bus-auth. */
  service: NatsUser;
}

export interface ServerConf {
  host: string;
  port: number;
  storeDir: string;
  users: readonly NatsUser[];
  /**
   * `{ env }`: value of that variable in the server's environment, for replicas that share one
   * file.
   */
  serverName?: string | { env: string };
  /**
   * `syncInterval`: how often writes are synced to the disk. The default `always` syncs before each
   * ack.
   */
  jetstream?: { maxFileBytes?: number | undefined; maxMemoryBytes?: number; syncInterval?: string };
  /** Port of the monitoring endpoints (varz, jsz, healthz) on the same host. Default: none. */
  monitorPort?: number;
  /** Requires TLS of clients. */
  tls?: TlsFiles;
  cluster?: ClusterConf;
  authCallout?: AuthCalloutConf;
}

const quote = (text: string) => JSON.stringify(text);
const list = (subjects: readonly string[]) => `[${subjects.map(quote).join(', ')}]`;
const indent = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
const block = (head: string, lines: readonly string[]) => [`${head} {`, ...indent(lines), '}'];

function userLines({ user, password, permissions }: NatsUser): string[] {
  const { subscribe, allowResponsesMs } = permissions;
  const [rule] = Object.entries(publishRule(permissions)).map(([name, subjects]) => `${name}: ${list(subjects)}`);
  return [
    `{ user: ${quote(user)}, password: ${quote(password)}, permissions: {`,
    `  publish: { ${rule} },`,
    ...(allowResponsesMs === undefined ? [] : [`  allow_responses: { max: 1, expires: "${allowResponsesMs}ms" },`]),
    `  subscribe: { allow: ${list(subscribe.allow)} } } }`,
  ];
}

const usersLines = (users: readonly NatsUser[]) => ['users: [', ...indent(users.flatMap(userLines)), ']'];

const tlsLines = ({ certFile, keyFile, caFile }: TlsFiles, more: readonly string[] = []) =>
  block('tls', [`cert_file: ${quote(certFile)}`, `key_file: ${quote(keyFile)}`, `ca_file: ${quote(caFile)}`, ...more]);

function clusterLines(host: string, conf: ClusterConf): string[] {
  const { name, port, routes, user, password, tls, passwordChanges = false } = conf;
  assert(
    tls || !passwordChanges,
    'passwordChanges needs tls: without certificates, the password alone protects the routes',
  );
  const scheme = `nats-route://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`;
  return block('cluster', [
    `name: ${quote(name)}`,
    `listen: ${quote(`${host}:${port}`)}`,
    // Clients keep the configured name: the certificate does not cover addresses of single servers.
    'no_advertise: true',
    ...(passwordChanges
      ? []
      : block('authorization', [`user: ${quote(user)}`, `password: ${quote(password)}`, `timeout: ${AUTH_TIMEOUT_S}`])),
    ...(tls ? tlsLines(tls, ['verify: true']) : []),
    ...block('permissions', ['import: {', ...indent(listLines('deny', NOT_TRACED.map(quote))), '}']),
    'routes: [',
    ...indent(routes.map((route) => quote(scheme + route))),
    ']',
  ]);
}

/** A name that begins with `$` is a variable if it is not quoted. */
const nameOf = (account: Account) => (account === SYSTEM ? quote(account) : account);
const place = (account: Account, subject: string) => `account: ${nameOf(account)}, subject: ${quote(subject)}`;

function importLine({ kind, from, subject, to }: Import): string {
  return `{ ${kind}: { ${place(from, subject)} }${to === undefined ? '' : `, to: ${quote(to)}`} }`;
}

function exportLine({ kind, subject, accounts, responsesMs }: Export): string {
  if (kind === 'stream') return `{ stream: ${quote(subject)}, accounts: [${accounts.join(', ')}] }`;
  const type = responsesMs === undefined ? 'singleton' : 'stream';
  const responses = `, response_type: ${type}, response_threshold: "${responsesMs ?? RESPONSE_MS}ms"`;
  return `{ service: ${quote(subject)}, accounts: [${accounts.join(', ')}]${responses} }`;
}

const listLines = (head: string, lines: readonly string[]) =>
  lines.length === 0 ? [] : [`${head}: [`, ...indent(lines), ']'];

function limitsLine(account: Account): string {
  const { maxPayloadBytes } = CONNECTION_LIMITS;
  const subscriptions = MAX_SUBSCRIPTIONS[account] ?? CONNECTION_LIMITS.maxSubscriptions;
  const connections = MAX_CONNECTIONS[account];
  const most = connections === undefined ? '' : `, max_connections: ${connections}`;
  const payload = MAX_PAYLOADS[account] ?? maxPayloadBytes;
  return `limits: { max_payload: ${payload}, max_subscriptions: ${subscriptions}${most} }`;
}

function accountLines(account: Account, all: readonly Account[], users: readonly NatsUser[]): string[] {
  const exports = EXPORTS[account].filter(({ accounts }) => accounts.every((one) => all.includes(one)));
  return block(nameOf(account), [
    ...(account === SYSTEM ? [] : [account === CORE ? 'jetstream: enabled' : limitsLine(account)]),
    ...listLines('exports', exports.map(exportLine)),
    ...listLines('imports', IMPORTS[account].map(importLine)),
    ...usersLines(users.filter((user) => user.account === account)),
  ]);
}

/** Accounts with their users, and the service that authenticates users unknown to the server. */
function accessLines({ users, authCallout }: ServerConf): string[] {
  const all = [...(authCallout ? [authCallout.service] : []), ...users];
  const accounts: readonly Account[] = authCallout
    ? [...ACCOUNTS, SYSTEM]
    : ACCOUNTS.filter((account) => account !== 'AUTH');
  return [
    ...block(
      'accounts',
      accounts.flatMap((account) => accountLines(account, accounts, all)),
    ),
    ...block('authorization', [`timeout: ${AUTH_TIMEOUT_S}`, ...(authCallout ? calloutLines(authCallout, all) : [])]),
  ];
}

const calloutLines = ({ issuer, xkey, service }: AuthCalloutConf, known: readonly NatsUser[]) =>
  block('auth_callout', [
    `issuer: ${quote(issuer)}`,
    `xkey: ${quote(xkey)}`,
    `account: ${quote(service.account)}`,
    `auth_users: ${list(known.map(({ user }) => user))}`,
  ]);

export function natsServerConf(conf: ServerConf): string {
  const { host, serverName = 'bailiff', monitorPort, tls, cluster } = conf;
  return [
    `server_name: ${typeof serverName === 'string' ? quote(serverName) : `$${serverName.env}`}`,
    `listen: ${quote(`${host}:${conf.port}`)}`,
    ...(monitorPort === undefined ? [] : [`http: ${quote(`${host}:${monitorPort}`)}`]),
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `max_pending: ${MAX_PENDING_BYTES}`,
    `write_deadline: "${WRITE_DEADLINE_S}s"`,
    `max_closed_clients: ${MAX_CLOSED_CLIENTS}`,
    `max_subscription_tokens: ${MAX_SUBSCRIPTION_TOKENS}`,
    ...block('jetstream', [
      `store_dir: ${quote(conf.storeDir)}`,
      `max_file_store: ${conf.jetstream?.maxFileBytes ?? DEFAULT_MAX_FILE_BYTES}`,
      `sync_interval: ${quote(conf.jetstream?.syncInterval ?? 'always')}`,
      `max_memory_store: ${conf.jetstream?.maxMemoryBytes ?? DEFAULT_MAX_MEMORY_BYTES}`,
    ]),
    ...(tls ? tlsLines(tls) : []),
    ...(cluster ? clusterLines(host, cluster) : []),
    ...accessLines(conf),
    '',
  ].join('\n');
}

/** Verbs about consumers, except MSG.NEXT: each consumer subscribes to its own. */
const CONSUMER_VERBS = ['CREATE', 'DELETE', 'DURABLE', 'INFO', 'LEADER', 'LIST', 'NAMES', 'PAUSE', 'RESET', 'UNPIN'];

/** Requests to a server, of all supported versions, except KICK. */
const SERVER_VERBS = [
  ...['ACCOUNTZ', 'CONNZ', 'EXPVARZ', 'GATEWAYZ', 'HEALTHZ', 'IDZ', 'IPQUEUESZ', 'JSZ', 'LDM', 'LEAFZ'],
  ...['PROFILEZ', 'RAFTZ', 'RELOAD', 'ROUTEZ', 'STATSZ', 'SUBSZ', 'VARZ'],
];

/**
 * What no message between the servers of a cluster may name as the destination of its trace:
 * subjects of one account or of the system account, for the rights of a route.
 *
 * nats-server from 2.11 on publishes a trace of a message to the subject in its header
 * `Nats-Trace-Dest`. It checks the rights of a client that sends the header, but not those of a
 * client that hides it: an import rewrites the headers of a request, and the next server then finds
 * one that the first did not. That server has only the rights of the route.
 *
 * A route has one list for two purposes: such destinations, and the subscriptions that servers
 * exchange. So the list cannot contain a subject that a server subscribes to, such as
 * `bailiff.v1.verdicts.>`. `bailiff.v1.verdicts.*.>` does not match that text, and matches every
 * subject of a verdict. docs/threat-model.md names what stays open.
 */
const NOT_TRACED: readonly string[] = [
  ...['ACCOUNT', 'META', 'SERVER', 'STREAM'].map((what) => `$JS.API.${what}.>`),
  ...CONSUMER_VERBS.map((verb) => `$JS.API.CONSUMER.${verb}.>`),
  // Not KICK, which bus-auth requests: a trace names no connection there.
  ...SERVER_VERBS.map((verb) => `$SYS.REQ.SERVER.*.${verb}`),
  // Not SIEM: connectors subscribe to subjects of this form.
  ...['violations', 'verdicts', 'responses', 'deadletters'].map((what) => `${ROOT}.${what}.*.>`),
  ...BUCKETS.map(({ bucket }) => `$KV.${bucket}.*.>`),
  // The nodes and networks of the cluster, which every collector reads.
  '$KV.bailiff_pods._cluster',
];
