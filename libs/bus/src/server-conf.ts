/**
 * Text of a nats.conf for nats-server 2.10 or later: JetStream, one user an identity, allow-lists, nothing else; in a cluster TLS,
 * routes, and auth callout for collectors.
 *
 * Place in the path: the lab, the tests and `bailiff credentials` write it to a file of mode 0600 (it holds passwords). Values are
 * quoted, so `$KV` is a subject and not a variable. With auth callout there are two accounts: who answers the server's questions
 * (they carry tokens) sits in AUTH and sees nothing of the bus, everybody else in BAILIFF and sees nothing of the questions. Every
 * fixed user is listed in `auth_users`: the server knows it by its password and asks nobody, so it gets in while bus-auth is down.
 */
import assert from 'node:assert';
import type { Permissions } from './permissions.ts';

export interface NatsUser {
  user: string;
  /** Plain or bcrypt ($2a$…), as nats-server takes it. */
  password: string;
  permissions: Permissions;
}

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
  /** The user that answers, in the account AUTH. */
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

/** Above the sum of the limits of all streams and buckets (about 8.4 GiB by default), which JetStream reserves at creation. */
export const DEFAULT_MAX_FILE_BYTES = 12 * 1024 ** 3;
/** Ordered consumers keep their state in memory, some kB each. */
export const DEFAULT_MAX_MEMORY_BYTES = 256 * 1024 ** 2;
/** Largest message: a snapshot of 512 KiB or a frame of 64 violations, with room. nats-server's own default. */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** How long the server waits for credentials, and for bus-auth's answer about them: less than a client waits, so that it is told. */
export const AUTH_TIMEOUT_S = 4;
/** Account of everything that is on the bus, where there is auth callout. */
export const BUS_ACCOUNT = 'BAILIFF';
/** Account of bus-auth. */
export const AUTH_ACCOUNT = 'AUTH';

const quote = (text: string) => JSON.stringify(text);
const list = (subjects: readonly string[]) => `[${subjects.map(quote).join(', ')}]`;
const indent = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
const block = (head: string, lines: readonly string[]) => [`${head} {`, ...indent(lines), '}'];

function userLines({ user, password, permissions }: NatsUser): string[] {
  const { publish, subscribe, allowResponsesMs } = permissions;
  return [
    `{ user: ${quote(user)}, password: ${quote(password)}, permissions: {`,
    `  publish: { allow: ${list(publish.allow)} },`,
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

/** Who there is, and whom the server asks about those whom it does not know. */
function accessLines({ users, authCallout }: ServerConf): string[] {
  if (!authCallout) return block('authorization', usersLines(users));
  const { issuer, xkey, service } = authCallout;
  const known = [service, ...users].map(({ user }) => user);
  return [
    ...block('accounts', [
      ...block(AUTH_ACCOUNT, usersLines([service])),
      ...block(BUS_ACCOUNT, ['jetstream: enabled', ...usersLines(users)]),
    ]),
    ...block('authorization', [
      `timeout: ${AUTH_TIMEOUT_S}`,
      ...block('auth_callout', [
        `issuer: ${quote(issuer)}`,
        `xkey: ${quote(xkey)}`,
        `account: ${quote(AUTH_ACCOUNT)}`,
        `auth_users: ${list(known)}`,
      ]),
    ]),
  ];
}

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
