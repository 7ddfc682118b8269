/** Names of runtime policies: `no-shell`, `shop/no-shell`, or the whole key. Pure. */
import type { ConfigKey } from '@bailiff/policy';
import { parseName } from '../arguments.ts';
import { parseKey } from '../config-keys/keys.ts';
import { CliError } from '../errors.ts';

export const RUNTIME_KEYS = 'runtime.>';

/** @throws CliError CLI_USAGE; ConfigError CONFIG_KEY */
export function parsePolicyName(text: string, namespace?: string): ConfigKey {
  const within = namespace === undefined ? null : parseName(namespace, '--namespace');
  if (text.startsWith('runtime.') && text.split('.').length === 4) return parseKey(text);
  const [first = '', second, ...rest] = text.split('/');
  if (rest.length > 0) {
    throw new CliError('CLI_USAGE', `"${text}" is not the name of a policy`, {
      remedy: 'use name, or namespace/name',
    });
  }
  if (second === undefined) return keyOf(within, parseName(first, 'policy'));
  if (within !== null && within !== first)
    throw new CliError('CLI_USAGE', `${text} and --namespace ${within} exclude each other`);
  return keyOf(parseName(first, 'policy'), parseName(second, 'policy'));
}

/** The key of a policy; null namespace = cluster. */
export function keyOf(namespace: string | null, name: string): ConfigKey {
  return { kind: 'runtime', scope: namespace === null ? 'cluster' : 'namespace', namespace, name };
}

/** `shop/no-shell`, or `no-shell` for a cluster policy. */
export function shortName({ namespace, name }: Pick<ConfigKey, 'namespace' | 'name'>): string {
  return namespace === null ? name : `${namespace}/${name}`;
}
