/**
 * Text of a nats.conf for nats-server 2.10 or later: JetStream, one user an identity, allow-lists, nothing else.
 *
 * Place in the path: the lab, the tests and the packaging write it to a file of mode 0600 (it holds passwords). Values are
 * quoted, so `$KV` is a subject and not a variable.
 */
import type { Permissions } from './permissions.ts';

export interface NatsUser {
  user: string;
  /** Plain or bcrypt ($2a$…), as nats-server takes it. */
  password: string;
  permissions: Permissions;
}

export interface ServerConf {
  host: string;
  port: number;
  storeDir: string;
  users: readonly NatsUser[];
  serverName?: string;
  jetstream?: { maxFileBytes?: number; maxMemoryBytes?: number };
  /** Monitoring (varz, jsz, healthz) on this port of the same host; off when it is not said. */
  monitorPort?: number;
}

/** Above the sum of the limits of all streams and buckets (about 8.4 GiB by default), which JetStream reserves at creation. */
export const DEFAULT_MAX_FILE_BYTES = 12 * 1024 ** 3;
/** Ordered consumers keep their state in memory, some kB each. */
export const DEFAULT_MAX_MEMORY_BYTES = 256 * 1024 ** 2;
/** Largest message: a snapshot of 512 KiB or a frame of 64 violations, with room. nats-server's own default. */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;

const quote = (text: string) => JSON.stringify(text);
const list = (subjects: readonly string[]) => `[${subjects.map(quote).join(', ')}]`;

function userText({ user, password, permissions }: NatsUser): string {
  const { publish, subscribe } = permissions;
  return [
    `    { user: ${quote(user)}, password: ${quote(password)}, permissions: {`,
    `      publish: { allow: ${list(publish.allow)} },`,
    `      subscribe: { allow: ${list(subscribe.allow)} } } }`,
  ].join('\n');
}

/** Writes the configuration. */
export function natsServerConf(conf: ServerConf): string {
  return [
    `server_name: ${quote(conf.serverName ?? 'bailiff')}`,
    `listen: ${quote(`${conf.host}:${conf.port}`)}`,
    ...(conf.monitorPort === undefined ? [] : [`http: ${quote(`${conf.host}:${conf.monitorPort}`)}`]),
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    'jetstream {',
    `  store_dir: ${quote(conf.storeDir)}`,
    `  max_file_store: ${conf.jetstream?.maxFileBytes ?? DEFAULT_MAX_FILE_BYTES}`,
    `  max_memory_store: ${conf.jetstream?.maxMemoryBytes ?? DEFAULT_MAX_MEMORY_BYTES}`,
    '}',
    'authorization {',
    '  users: [',
    conf.users.map(userText).join(',\n'),
    '  ]',
    '}',
    '',
  ].join('\n');
}
