/**
 * Configuration keys as operators write them. Pure. Keys that no component reads are refused,
 * because a value under one would never take effect.
 */
import {
  BUILT_IN_RESPONSE_POLICIES,
  BUILT_IN_RULES,
  CONFIG_KINDS,
  CONFIG_SCOPES,
  ConfigError,
  type ConfigKey,
  formatConfigKey,
  parseConfigKey,
  parseConfigValue,
  requireReadKey,
  spoofCluster,
} from '@bailiff/policy';
import { nearest } from '../text/nearest.ts';

export { CONFIG_KINDS };

/** @throws ConfigError CONFIG_KEY, with a suggestion if a similar key is valid */
export function parseKey(text: string): ConfigKey {
  let key: ConfigKey;
  try {
    key = parseConfigKey(text);
  } catch (error) {
    const similar = error instanceof ConfigError ? similarKey(text) : null;
    if (similar === null) throw error;
    throw new ConfigError('CONFIG_KEY', `${(error as ConfigError).message}; did you mean ${similar}?`, [], {
      cause: error,
    });
  }
  requireReadKey(key);
  return key;
}

/**
 * The valid key nearest to a malformed one: a typo in kind or scope, or a missing `_`; null if
 * there is none. Pure.
 */
export function similarKey(text: string): string | null {
  const [kind = '', scope = '', ...rest] = text.toLowerCase().split('.');
  const parts = rest.length === 1 ? ['_', ...rest] : rest;
  const word = (given: string, known: readonly string[]) => (known.includes(given) ? given : nearest(given, known));
  const candidate = [word(kind, CONFIG_KINDS), word(scope, CONFIG_SCOPES), ...parts].join('.');
  try {
    requireReadKey(parseConfigKey(candidate));
    return candidate;
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** The value in force when nothing is stored; undefined if there is none. */
export function builtIn(key: ConfigKey): unknown {
  if (key.kind === 'spoof' && key.scope === 'cluster') return spoofCluster.parse({});
  if (key.kind === 'correlation') return BUILT_IN_RULES[key.name];
  if (key.kind === 'response') return BUILT_IN_RESPONSE_POLICIES[key.name];
  return undefined;
}

/** Keys with a built-in value. */
export function builtInKeys(): string[] {
  const key = (kind: ConfigKey['kind'], name: string) =>
    formatConfigKey({ kind, scope: 'cluster', namespace: null, name });
  return [
    key('spoof', 'default'),
    ...Object.keys(BUILT_IN_RULES).map((name) => key('correlation', name)),
    ...Object.keys(BUILT_IN_RESPONSE_POLICIES).map((name) => key('response', name)),
  ];
}

/**
 * What `config set <key> field=value` starts from when nothing is stored. A spoof policy starts
 * empty, so that new defaults of later versions apply; rules and response policies start complete.
 */
export function initialValue(key: ConfigKey): Record<string, unknown> {
  const complete = key.kind === 'spoof' ? undefined : builtIn(key);
  return structuredClone((complete ?? {}) as Record<string, unknown>);
}

/** Why readers refuse a stored value, in one line; empty if they accept it. */
export function refusalOf(key: string, json: string): string {
  try {
    parseConfigValue(parseConfigKey(key), json);
    return '';
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n').slice(-1)[0] ?? error.message;
    throw error;
  }
}
