/**
 * Keys of the configuration as an operator names them. Pure. A key that would be stored and that no component reads is refused: it would
 * look as if it were in force.
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

/** @throws ConfigError CONFIG_KEY, with the key that was likely meant */
export function parseKey(text: string): ConfigKey {
  let key: ConfigKey;
  try {
    key = parseConfigKey(text);
  } catch (error) {
    const meant = error instanceof ConfigError ? nearKey(text) : null;
    if (meant === null) throw error;
    throw new ConfigError('CONFIG_KEY', `${(error as ConfigError).message}; did you mean ${meant}?`, [], {
      cause: error,
    });
  }
  requireReadKey(key);
  return key;
}

/** What is no key with a slip in its kind or scope, or without its `_`, as a key; null when that makes none. Pure. */
export function nearKey(text: string): string | null {
  const [kind = '', scope = '', ...rest] = text.toLowerCase().split('.');
  const whole = rest.length === 1 ? ['_', ...rest] : rest;
  const word = (said: string, known: readonly string[]) => (known.includes(said) ? said : nearest(said, known));
  const meant = [word(kind, CONFIG_KINDS), word(scope, CONFIG_SCOPES), ...whole].join('.');
  try {
    requireReadKey(parseConfigKey(meant));
    return meant;
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** What holds under a key when nothing is stored; undefined when nothing does. */
export function builtIn(key: ConfigKey): unknown {
  if (key.kind === 'spoof' && key.scope === 'cluster') return spoofCluster.parse({});
  if (key.kind === 'correlation') return BUILT_IN_RULES[key.name];
  if (key.kind === 'response') return BUILT_IN_RESPONSE_POLICIES[key.name];
  return undefined;
}

/** Keys that have a value although nothing is stored. */
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
 * What `config set <key> field=value` begins from when nothing is stored. A spoof policy begins empty, so that defaults of later versions
 * still reach it; a rule or a response policy is whole or nothing.
 */
export function beginning(key: ConfigKey): Record<string, unknown> {
  const whole = key.kind === 'spoof' ? undefined : builtIn(key);
  return structuredClone((whole ?? {}) as Record<string, unknown>);
}
