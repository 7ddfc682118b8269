/**
 * Schemas of the values under each key of `bailiff_config`. Separate from keys.ts, because it
 * imports the schemas of every kind.
 */
import type * as z from 'zod';
import { correlationRule } from '../documents/correlation.ts';
import { responsePolicy } from '../documents/response.ts';
import { runtimePolicy, runtimePolicyScoped } from '../documents/runtime.ts';
import { disarm, spoofCluster, spoofScoped } from '../documents/spoof.ts';
import { contradictionsOf } from './contradictions.ts';
import { ConfigError, type ConfigKey, formatConfigKey, parseConfigKey, parseValueBy } from './keys.ts';
import { requireReadKey } from './scopes.ts';

/** Schema of the value under a key. */
export function schemaFor(key: Pick<ConfigKey, 'kind' | 'scope'>): z.ZodType {
  if (key.kind === 'spoof') return key.scope === 'cluster' ? spoofCluster : spoofScoped;
  if (key.kind === 'correlation') return correlationRule;
  if (key.kind === 'response') return responsePolicy;
  if (key.kind === 'runtime') return key.scope === 'cluster' ? runtimePolicy : runtimePolicyScoped;
  return disarm;
}

/**
 * Parses and checks the JSON of a key, and fills in defaults. @throws ConfigError CONFIG_KEY |
 * CONFIG_JSON | CONFIG_SCHEMA
 */
export function parseConfigValue(key: ConfigKey, json: string): unknown {
  return parseValueBy(schemaFor(key), key, json);
}

/**
 * As parseConfigValue, for writers: also refuses contradictions. Readers accept them, because an
 * earlier version may have stored them.
 * @throws ConfigError CONFIG_KEY | CONFIG_JSON | CONFIG_SCHEMA | CONFIG_CONTRADICTION
 */
export function checkConfigWrite(key: ConfigKey, json: string, nowMs: number = Date.now()): unknown {
  requireReadKey(key);
  const value = parseConfigValue(key, json);
  const found = contradictionsOf(key, value, nowMs);
  if (found.length === 0) return value;
  const fields = found.map(({ path }) => path.join('.'));
  const lines = found.map(({ message }, index) => `${fields[index]}: ${message}`);
  throw new ConfigError('CONFIG_CONTRADICTION', `${formatConfigKey(key)}: refused\n${lines.join('\n')}`, fields);
}

/** Returns the reason, in one line, for which readers refuse a stored value. Empty: they accept it. */
export function configRefusal(key: string, json: string): string {
  try {
    parseConfigValue(parseConfigKey(key), json);
    return '';
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n').slice(-1)[0] ?? error.message;
    throw error;
  }
}
