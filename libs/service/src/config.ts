/**
 * Configuration of a service: defaults < file < environment < flags, validated by one strict zod
 * schema. Pure: the caller reads the file. Each invalid field is reported with its path and the
 * source of its value.
 */
import * as z from 'zod';
import { ServiceError } from './errors.ts';
import { flagName, type ParsedFlags } from './flags.ts';
import { type Leaf, leavesOf } from './schema-walk.ts';

/** A whole number. */
export const whole = (min: number, max: number) => z.number().int().min(min).max(max);
/** Empty: not set. */
export const optionalText = z.string().default('');

const listenAddress = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:[\]]+):\d{1,5}$|^$/, { error: 'must be host:port, [v6]:port, or empty for none' })
  .default('127.0.0.1:0');

/** Address of a listener that is always there. */
export const hostPort = z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5}$/, { error: 'must be host:port' });

/** Keys of the process frame, which extend every service's schema. */
export const frameShape = {
  metricsAddress: listenAddress.describe('where /metrics is served; empty: not served'),
  probeAddress: listenAddress.describe(
    'where /healthz and /readyz are served, for the kubelet alone; on a loopback address only to the machine itself; empty: not served',
  ),
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('minimum level of log lines'),
  stopTimeoutMs: whole(100, 120_000).default(10_000).describe('time limit of each shutdown step'),
};
export type FrameConfig = z.output<z.ZodObject<typeof frameShape>>;

const HOST = String.raw`(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)`;
const PORT = String.raw`:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])`;
/**
 * A single server. An invalid address is rejected instead of dialled forever. A host without a
 * scheme needs a port, so that a typo is not taken for a host.
 */
const SERVER = String.raw`\s*((nats|tls)://${HOST}(${PORT})?/?|${HOST}${PORT})\s*`;
const SERVERS = new RegExp(`^${SERVER}(,${SERVER})*$`);

/**
 * Keys of a service that uses the bus; spread into its schema. Secrets are given by file path only.
 */
export const busShape = {
  natsUrl: z
    .string()
    .regex(SERVERS, { error: 'must be nats://host:port or tls://host:port, several separated by commas' })
    .default('nats://127.0.0.1:4222')
    .describe('servers of the bus, separated by commas'),
  natsUser: optionalText.describe('user on the bus'),
  natsPasswordFile: optionalText.describe(
    'file with the password; during a rotation, the next password on a line before it',
  ),
  natsTokenFile: optionalText.describe(
    'file with a token instead, such as a projected ServiceAccount token; read at each connection',
  ),
  natsCaFile: optionalText.describe('CA certificates (PEM) for TLS to the bus'),
  natsCertFile: optionalText.describe('client certificate (PEM)'),
  natsKeyFile: optionalText.describe('key of the client certificate (PEM)'),
};

/** Keys of a service that uses the API server; spread into its schema. */
export const kubeShape = {
  kubeconfig: optionalText.describe('kubeconfig file; empty: KUBECONFIG, ~/.kube/config or the service account'),
  kubeContext: optionalText.describe('context of the kubeconfig; empty: its current one'),
};

/** Keys of a service that reads configuration from the bus; spread into its schema. */
export const signersShape = {
  configSigners: optionalText.describe(
    'file with the public keys that may sign configuration, read at the start; empty: configuration needs no signature',
  ),
};

type BusConfig = z.output<z.ZodObject<typeof busShape>>;

/**
 * Bus options from the configuration; empty values are left out. @throws ServiceError
 * SERVICE_CONFIG if both a password and a token are set
 */
export function busOptionsOf(config: BusConfig) {
  const { natsUrl, natsUser, natsPasswordFile, natsTokenFile, natsCaFile, natsCertFile, natsKeyFile } = config;
  if (natsPasswordFile && natsTokenFile) {
    const fields = ['natsPasswordFile', 'natsTokenFile'];
    throw new ServiceError('SERVICE_CONFIG', `${fields.join(', ')}: set only one of the two`, { fields });
  }
  const tls = {
    ...(natsCaFile ? { caFile: natsCaFile } : {}),
    ...(natsCertFile ? { certFile: natsCertFile, keyFile: natsKeyFile } : {}),
  };
  return {
    servers: natsUrl.split(',').map((server) => server.trim()),
    user: natsUser,
    ...(natsPasswordFile ? { passwordFile: natsPasswordFile } : {}),
    ...(natsTokenFile ? { tokenFile: natsTokenFile } : {}),
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
  };
}

/** Prefix of a service's environment variables: `ipam-sync` → `BAILIFF_IPAM_SYNC_`. */
export function envPrefix(name: string): string {
  return `BAILIFF_${name.toUpperCase().replaceAll('-', '_')}_`;
}
/** Environment variable of a key: `sampling.perSecond` → `<prefix>SAMPLING__PER_SECOND`. */
export function envName(name: string, path: string): string {
  return envPrefix(name) + flagName(path).replaceAll('.', '__').replaceAll('-', '_').toUpperCase();
}

// Kubernetes sets FOO_SERVICE_HOST, FOO_PORT_80_TCP… for every Service in every pod. Without this
// exception, a Service named bailiff-collector would stop the collector with "unknown key".
const SERVICE_LINK = /_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

export interface ConfigSources {
  name: string;
  defaults: Record<string, unknown>;
  /** Parsed content of the file; null without a file. */
  file: { path: string; value: unknown } | null;
  env: Readonly<Record<string, string | undefined>>;
  flags: ParsedFlags['values'];
}

/**
 * Merges and validates the sources. @throws ServiceError SERVICE_CONFIG | SERVICE_BAD_FLAGS with
 * `fields`
 */
export function buildConfig<S extends z.ZodObject>(schema: S, sources: ConfigSources): z.output<S> {
  const leaves = leavesOf(schema);
  const merged: Record<string, unknown> = structuredClone(sources.defaults);
  const origins = new Map<string, string>();
  if (sources.file) {
    const { path, value } = sources.file;
    if (!isPlainObject(value)) throw new ServiceError('SERVICE_CONFIG', `${path}: must hold an object`);
    mergeInto(merged, value, '', (field) => origins.set(field, path));
  }
  for (const [path, text, origin] of [...fromEnv(leaves, sources), ...fromFlags(sources.flags)]) {
    setPath(merged, path, coerce(leaves.find((leaf) => leaf.path === path)?.kind ?? 'text', text));
    origins.set(path, origin);
  }
  const parsed = schema.safeParse(merged);
  if (parsed.success) return parsed.data;
  throw refused(parsed.error, origins);
}

function* fromEnv(leaves: readonly Leaf[], { name, env }: ConfigSources): Generator<[string, string, string]> {
  const prefix = envPrefix(name);
  const byVariable = new Map(leaves.map((leaf) => [envName(name, leaf.path), leaf.path]));
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(prefix) || text === undefined) continue;
    const path = byVariable.get(variable);
    if (path !== undefined) yield [path, text, variable];
    else if (!SERVICE_LINK.test(variable)) {
      throw new ServiceError('SERVICE_CONFIG', `${variable}: no such key`, { fields: [variable] });
    }
  }
}

function* fromFlags(values: ReadonlyMap<string, string>): Generator<[string, string, string]> {
  for (const [path, text] of values) yield [path, text, `--${flagName(path)}`];
}

/** Text that does not fit its kind stays text, so that the schema reports the error. */
function coerce(kind: Leaf['kind'], text: string): unknown {
  if (kind === 'number') return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  if (kind === 'boolean')
    return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text;
  if (kind === 'list') return text === '' ? [] : text.split(',').map((item) => item.trim());
  if (kind !== 'json') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function refused(error: z.ZodError, origins: ReadonlyMap<string, string>): ServiceError {
  const fields: string[] = [];
  let allByFlag = true;
  const lines = error.issues.map((issue) => {
    const path = issue.path.map(String).join('.');
    const names =
      issue.code === 'unrecognized_keys' ? issue.keys.map((key) => (path ? `${path}.${key}` : key)) : [path];
    fields.push(...names);
    const origin = originOf(origins, names[0] ?? '');
    if (!origin?.startsWith('--')) allByFlag = false;
    return `${names.join(', ') || '(whole)'}: ${issue.message}${origin ? ` (from ${origin})` : ''}`;
  });
  return new ServiceError(allByFlag ? 'SERVICE_BAD_FLAGS' : 'SERVICE_CONFIG', lines.join('\n'), { fields });
}

function originOf(origins: ReadonlyMap<string, string>, path: string): string | undefined {
  for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const origin = origins.get(at);
    if (origin !== undefined) return origin;
  }
  return undefined;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mergeInto(
  target: Record<string, unknown>,
  source: Record<string, unknown>,
  prefix: string,
  note: (path: string) => void,
): void {
  for (const [key, value] of Object.entries(source)) {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    const there = Object.hasOwn(target, key) ? target[key] : undefined;
    if (isPlainObject(value) && isPlainObject(there)) mergeInto(there, value, path, note);
    else define(target, key, value);
    note(path);
  }
}

function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split('.');
  let at = target;
  for (const key of keys.slice(0, -1)) {
    if (!isPlainObject(at[key])) define(at, key, {});
    at = at[key] as Record<string, unknown>;
  }
  define(at, keys.at(-1) as string, value);
}

/** Assigns a key safely even if it is `__proto__`. */
function define(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}
