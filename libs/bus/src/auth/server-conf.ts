/**
 * Text of a nats.conf for nats-server 2.10 or later: JetStream, accounts with their imports and exports, one user an identity with its
 * allow-lists; in a cluster TLS, routes, and auth callout for collectors.
 *
 * Data path: the lab, the tests and `bailiff credentials` write it to a file of mode 0600 (it holds passwords). Values are quoted, so
 * `$KV` is a subject and not a variable. With auth callout every fixed user is listed in `auth_users`: the server checks its password
 * itself, so these users can log in while bus-auth is down.
 */
import assert from 'node:assert';
import { type Identity, userOf } from '../topology/identities.ts';
import {
  AUTH_TIMEOUT_S,
  DEFAULT_MAX_FILE_BYTES,
  DEFAULT_MAX_MEMORY_BYTES,
  MAX_PAYLOAD_BYTES,
} from '../topology/server-limits.ts';
import { ACCOUNTS, type Account, accountOf, CORE, EXPORTS, type Export, IMPORTS, type Import } from './accounts.ts';
import { type Permissions, permissionsFor, publishRule } from './permissions.ts';

export interface NatsUser {
  user: string;
  account: Account;
  /** Plain or bcrypt ($2a$…), as nats-server takes it. */
  password: string;
  permissions: Permissions;
}

/** A user with the account and the rights of an identity. `password` as in NatsUser. */
export const natsUserFor = (identity: Identity, password: string): NatsUser => ({
  user: userOf(identity),
  account: accountOf(identity),
  password,
  permissions: permissionsFor(identity),
});

/** Files in PEM, as the server finds them. */
export interface TlsFiles {
  certFile: string;
  keyFile: string;
  caFile: string;
}

/** Several servers as one: each lists all, itself too, so that one text serves every replica. */
export interface ClusterConf {
  name: string;
  port: number;
  /** host:port of every server's route listener. */
  routes: readonly string[];
  /** What servers prove to each other, beside their certificates. Plain: each sends it to the others. */
  user: string;
  password: string;
  tls?: TlsFiles;
  /**
   * While the password is changed: it is shown and not asked for, so that servers with either one have their routes. Their certificates alone hold
   * others off meanwhile, so it wants `tls`.
   */
  passwordChanges?: boolean;
}

export interface AuthCalloutConf {
  /** Public nkey of an account (A…): whose signature on a user's rights the server believes. */
  issuer: string;
  /** Public curve nkey (X…): requests are sealed for it, since they hold tokens. */
  xkey: string;
  /** The user of bus-auth. */
  service: NatsUser;
}

export interface ServerConf {
  host: string;
  port: number;
  storeDir: string;
  users: readonly NatsUser[];
  /** `{ env }`: the value of that variable in the server's environment, for replicas that share one text. */
  serverName?: string | { env: string };
  /** `syncInterval`: when what is stored is written through to the disk; `always`, the default, before it is acknowledged. */
  jetstream?: { maxFileBytes?: number; maxMemoryBytes?: number; syncInterval?: string };
  /** Monitoring (varz, jsz, healthz) on this port of the same host; off when it is not said. */
  monitorPort?: number;
  /** Clients must speak TLS. */
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
  assert(tls || !passwordChanges, 'without certificates the password of routes is all that holds others off');
  const scheme = `nats-route://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`;
  return block('cluster', [
    `name: ${quote(name)}`,
    `listen: ${quote(`${host}:${port}`)}`,
    // Clients keep to the name they were given: addresses of single servers are not in the certificate.
    'no_advertise: true',
    ...(passwordChanges
      ? []
      : block('authorization', [`user: ${quote(user)}`, `password: ${quote(password)}`, `timeout: ${AUTH_TIMEOUT_S}`])),
    ...(tls ? tlsLines(tls, ['verify: true']) : []),
    'routes: [',
    ...indent(routes.map((route) => quote(scheme + route))),
    ']',
  ]);
}

const place = (account: Account, subject: string) => `account: ${account}, subject: ${quote(subject)}`;

function importLine({ kind, from, subject, to }: Import): string {
  return `{ ${kind}: { ${place(from, subject)} }${to === undefined ? '' : `, to: ${quote(to)}`} }`;
}

function exportLine({ kind, subject, accounts, responsesMs }: Export): string {
  const responses = responsesMs === undefined ? '' : `, response_type: stream, response_threshold: "${responsesMs}ms"`;
  return `{ ${kind}: ${quote(subject)}, accounts: [${accounts.join(', ')}]${responses} }`;
}

const listLines = (head: string, lines: readonly string[]) =>
  lines.length === 0 ? [] : [`${head}: [`, ...indent(lines), ']'];

function accountLines(account: Account, users: readonly NatsUser[]): string[] {
  return block(account, [
    ...(account === CORE ? ['jetstream: enabled'] : []),
    ...listLines('exports', EXPORTS[account].map(exportLine)),
    ...listLines('imports', IMPORTS[account].map(importLine)),
    ...usersLines(users.filter((user) => user.account === account)),
  ]);
}

/** Accounts with their users, and which service authenticates the users that the server does not know. */
function accessLines({ users, authCallout }: ServerConf): string[] {
  const all = [...(authCallout ? [authCallout.service] : []), ...users];
  const accounts = ACCOUNTS.filter((account) => account !== 'AUTH' || authCallout !== undefined);
  return [
    ...block(
      'accounts',
      accounts.flatMap((account) => accountLines(account, all)),
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

/** Writes the configuration. */
export function natsServerConf(conf: ServerConf): string {
  const { host, serverName = 'bailiff', monitorPort, tls, cluster } = conf;
  return [
    `server_name: ${typeof serverName === 'string' ? quote(serverName) : `$${serverName.env}`}`,
    `listen: ${quote(`${host}:${conf.port}`)}`,
    ...(monitorPort === undefined ? [] : [`http: ${quote(`${host}:${monitorPort}`)}`]),
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
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
