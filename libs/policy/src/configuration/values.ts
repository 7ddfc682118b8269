/** What may stand under each key of `bailiff_config`. Apart from keys.ts, because it brings the schemas of every kind. */
import type * as z from 'zod';
import { correlationRule } from '../documents/correlation.ts';
import { responsePolicy } from '../documents/response.ts';
import { runtimePolicy, runtimePolicyScoped } from '../documents/runtime.ts';
import { disarm, spoofCluster, spoofScoped } from '../documents/spoof.ts';
import { contradictionsOf } from './contradictions.ts';
import { ConfigError, type ConfigKey, formatConfigKey, parseValueBy } from './keys.ts';
import { requireReadKey } from './scopes.ts';

/** The schema of what may stand under a key. */
export function schemaFor(key: Pick<ConfigKey, 'kind' | 'scope'>): z.ZodType {
  if (key.kind === 'spoof') return key.scope === 'cluster' ? spoofCluster : spoofScoped;
  if (key.kind === 'correlation') return correlationRule;
  if (key.kind === 'response') return responsePolicy;
  if (key.kind === 'runtime') return key.scope === 'cluster' ? runtimePolicy : runtimePolicyScoped;
  return disarm;
}

/** Parses and checks the JSON under a key; defaults are filled in. @throws ConfigError CONFIG_KEY | CONFIG_JSON | CONFIG_SCHEMA */
export function parseConfigValue(key: ConfigKey, json: string): unknown {
  return parseValueBy(schemaFor(key), key, json);
}

/**
 * The same for who writes: what contradicts itself is refused as well. Readers take it, because it may have been stored before it was known
 * to be one. @throws ConfigError CONFIG_KEY | CONFIG_JSON | CONFIG_SCHEMA | CONFIG_CONTRADICTION
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
