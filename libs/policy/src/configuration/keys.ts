/**
 * Keys of the `bailiff_config` bucket: `<kind>.<scope>.<namespace or _>.<name>`. Kubernetes names
 * may contain dots and key tokens may not, so `.` is written `_`. No Kubernetes name contains `_`,
 * so this is reversible.
 */
import type * as z from 'zod';

/**
 * CONFIG_LOG was recreated: a former value stays in force until the new log has its key, and at most
 * this long after the first change there. Writers store their values one after another, and without
 * this a verdict or a frame of that time would be judged by a part of the configuration.
 */
export const FORMER_CONFIG_MICROS = 60_000_000;

export const CONFIG_KINDS = ['spoof', 'correlation', 'response', 'disarm', 'runtime'] as const;
export type ConfigKind = (typeof CONFIG_KINDS)[number];
export const CONFIG_SCOPES = ['cluster', 'namespace', 'workload', 'node'] as const;
export type ConfigScope = (typeof CONFIG_SCOPES)[number];

export interface ConfigKey {
  kind: ConfigKind;
  scope: ConfigScope;
  /** Null at cluster and node scope. */
  namespace: string | null;
  name: string;
}

export class ConfigError extends Error {
  /**
   * CONFIG_KEY: an unknown key, or one that is never read. CONFIG_JSON: the value is not JSON.
   * CONFIG_SCHEMA: invalid fields. CONFIG_CONTRADICTION: valid fields that contradict one another.
   * CONFIG_REVISION: a newer value is stored. CONFIG_OWNER: the key belongs to the command line or
   * to a custom resource, and the other one writes it. CONFIG_SIGNATURE: a signature is missing or
   * wrong, or the file of signers is.
   */
  readonly code:
    | 'CONFIG_KEY'
    | 'CONFIG_JSON'
    | 'CONFIG_SCHEMA'
    | 'CONFIG_CONTRADICTION'
    | 'CONFIG_REVISION'
    | 'CONFIG_OWNER'
    | 'CONFIG_SIGNATURE';
  /** Dotted paths of the invalid fields, in order. Empty if the whole value is invalid. */
  readonly fields: readonly string[];
  /** Key of the value. Null if none is known. */
  readonly key: ConfigKey | null;
  constructor(
    code: ConfigError['code'],
    message: string,
    fields: readonly string[] = [],
    options?: ErrorOptions & { key?: ConfigKey },
  ) {
    super(message, options);
    this.name = 'ConfigError';
    this.code = code;
    this.fields = fields;
    this.key = options?.key ?? null;
  }
}

const SCOPES_OF: Record<ConfigKind, readonly ConfigScope[]> = {
  spoof: ['cluster', 'namespace', 'workload'],
  correlation: ['cluster'],
  response: ['cluster'],
  disarm: ['cluster', 'namespace', 'node'],
  runtime: ['cluster', 'namespace'],
};

/**
 * Formats a key. @throws ConfigError CONFIG_KEY if kind and scope do not fit, or a name is not a
 * Kubernetes name
 */
export function formatConfigKey(key: ConfigKey): string {
  const wantsNamespace = key.scope === 'namespace' || key.scope === 'workload';
  if (!SCOPES_OF[key.kind]?.includes(key.scope))
    throw new ConfigError('CONFIG_KEY', `${key.kind} has no scope ${key.scope}`);
  if (wantsNamespace !== (key.namespace !== null)) {
    throw new ConfigError('CONFIG_KEY', `scope ${key.scope} ${wantsNamespace ? 'needs a' : 'has no'} namespace`);
  }
  for (const name of [key.name, ...(key.namespace === null ? [] : [key.namespace])]) {
    if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name))
      throw new ConfigError('CONFIG_KEY', `"${name}" is not a Kubernetes name`);
  }
  const token = (name: string) => name.replaceAll('.', '_');
  return [key.kind, key.scope, key.namespace === null ? '_' : token(key.namespace), token(key.name)].join('.');
}

/** Parses a key. @throws ConfigError CONFIG_KEY */
export function parseConfigKey(text: string): ConfigKey {
  const parts = text.split('.');
  const [kind, scope, namespace, name] = parts;
  const fail = () => new ConfigError('CONFIG_KEY', `"${text}" is not <kind>.<scope>.<namespace or _>.<name>`);
  if (parts.length !== 4 || !name || !namespace) throw fail();
  if (!(CONFIG_KINDS as readonly string[]).includes(kind as string)) throw fail();
  if (!(CONFIG_SCOPES as readonly string[]).includes(scope as string)) throw fail();
  const plain = (token: string) => token.replaceAll('_', '.');
  const key = {
    kind: kind as ConfigKind,
    scope: scope as ConfigScope,
    namespace: namespace === '_' ? null : plain(namespace),
    name: plain(name),
  };
  formatConfigKey(key);
  return key;
}

const oneLine = (text: string): string => text.replaceAll(/(?<!\s)\s*[\n\r\u2028\u2029]\s*/g, ' ');

/** Lines `path: problem`, one per issue. */
export function describeIssues(error: z.ZodError): { fields: string[]; text: string } {
  const fields: string[] = [];
  const lines = error.issues.map((issue) => {
    // The writer chose the names of the fields, so each issue becomes one line.
    const path = issue.path.map((part) => oneLine(String(part))).join('.');
    const unknown =
      issue.code === 'unrecognized_keys' ? issue.keys.map(oneLine).map((k) => (path ? `${path}.${k}` : k)) : [path];
    fields.push(...unknown);
    return `${unknown.join(', ') || '(whole value)'}: ${oneLine(issue.message)}`;
  });
  return { fields, text: lines.join('\n') };
}

/**
 * Parses the JSON of a key, checks it by a schema and fills in defaults. For readers of one kind:
 * parseConfigValue imports the schemas of every kind.
 * @throws ConfigError CONFIG_KEY | CONFIG_JSON | CONFIG_SCHEMA
 */
export function parseValueBy<T>(schema: z.ZodType<T>, key: ConfigKey, json: string): T {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (cause) {
    throw new ConfigError('CONFIG_JSON', `${formatConfigKey(key)}: not JSON: ${(cause as Error).message}`, [], {
      cause,
    });
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const { fields, text } = describeIssues(result.error);
  throw new ConfigError('CONFIG_SCHEMA', `${formatConfigKey(key)}: refused\n${text}`, fields, { key });
}
