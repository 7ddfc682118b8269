/**
 * Keys of the configuration as an operator names them. Pure. A key that would be stored and that no component reads is refused: it would
 * look as if it were in force.
 */
import {
  CONFIG_KINDS,
  type ConfigKey,
  DEFAULT_RESPONSE_POLICIES,
  DEFAULT_RULES,
  formatConfigKey,
  parseConfigKey,
  requireReadKey,
  spoofCluster,
} from '@bailiff/policy';

export { CONFIG_KINDS };

/** @throws ConfigError CONFIG_KEY */
export function parseKey(text: string): ConfigKey {
  const key = parseConfigKey(text);
  requireReadKey(key);
  return key;
}

/** What holds under a key when nothing is stored; undefined when nothing does. */
export function builtIn(key: ConfigKey): unknown {
  if (key.kind === 'spoof' && key.scope === 'cluster') return spoofCluster.parse({});
  if (key.kind === 'correlation') return DEFAULT_RULES[key.name];
  if (key.kind === 'response') return DEFAULT_RESPONSE_POLICIES[key.name];
  return undefined;
}

/** Keys that have a value although nothing is stored. */
export function builtInKeys(): string[] {
  const key = (kind: ConfigKey['kind'], name: string) =>
    formatConfigKey({ kind, scope: 'cluster', namespace: null, name });
  return [
    key('spoof', 'default'),
    ...Object.keys(DEFAULT_RULES).map((name) => key('correlation', name)),
    ...Object.keys(DEFAULT_RESPONSE_POLICIES).map((name) => key('response', name)),
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
