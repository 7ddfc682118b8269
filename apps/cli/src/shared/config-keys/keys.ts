/**
 * Configuration keys as operators write them. Pure. Refuses keys that no component reads, because
 * their values would never take effect.
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

/** The namespace whose pods a value is for; null: of the cluster, of a node, or of a key that is none. */
export function namespaceOfKey(key: string): string | null {
  try {
    const { scope, namespace } = parseConfigKey(key);
    return scope === 'cluster' || scope === 'node' ? null : namespace;
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/**
 * Returns the valid key nearest to a malformed one, or null. Corrects a misspelled kind or scope,
 * and adds a missing `_`. Pure.
 */
export function similarKey(text: string): string | null {
  const [kind = '', scope = '', ...rest] = text.toLowerCase().split('.');
  const parts = rest.length === 1 ? ['_', ...rest] : rest;
  const correct = (given: string, known: readonly string[]) => (known.includes(given) ? given : nearest(given, known));
  const candidate = [correct(kind, CONFIG_KINDS), correct(scope, CONFIG_SCOPES), ...parts].join('.');
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
 * Returns the value that `config set <key> field=value` edits if the key has no stored value. It is
 * empty for a spoof policy, so that the defaults of later versions apply. For rules and response
 * policies it is the complete built-in value.
 */
export function initialValue(key: ConfigKey): Record<string, unknown> {
  const complete = key.kind === 'spoof' ? undefined : builtIn(key);
  return structuredClone((complete ?? {}) as Record<string, unknown>);
}
