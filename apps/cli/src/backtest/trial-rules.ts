/**
 * Parses trial rules and response policies of a YAML or JSON file. Pure. Three forms are accepted:
 *
 *   repeated-spoofing: {type: event_count, …}                     a rule by name
 *   correlation: {repeated-spoofing: {…}}, response: {name: {…}}  by kind and name
 *   correlation.cluster._.repeated-spoofing: {…}                  by configuration key
 *
 * Reports the first error of each top-level entry, all together.
 */
import {
  ConfigError,
  type ConfigKey,
  type CorrelationRule,
  formatConfigKey,
  parseConfigKey,
  parseConfigValue,
  type ResponsePolicy,
} from '@bailiff/policy';
import { CliError } from '../shared/errors.ts';

export interface TrialRules {
  rules: Readonly<Record<string, CorrelationRule>>;
  policies: ReadonlyMap<string, ResponsePolicy>;
}

const KINDS = ['correlation', 'response'] as const;
type Kind = (typeof KINDS)[number];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws ConfigError CONFIG_KEY for an invalid name */
function keyOf(kind: Kind, name: string): ConfigKey {
  const key: ConfigKey = { kind, scope: 'cluster', namespace: null, name };
  formatConfigKey(key);
  return key;
}

/** Keys and values of one entry. @throws ConfigError CONFIG_KEY */
function entriesOf(name: string, value: unknown): [ConfigKey, unknown][] {
  const kind = KINDS.find((one) => one === name);
  if (kind !== undefined && isRecord(value) && !Object.hasOwn(value, 'type')) {
    return Object.entries(value).map(([inner, one]) => [keyOf(kind, inner), one]);
  }
  if (!/^[a-z]+\.[a-z]+\./.test(name)) return [[keyOf('correlation', name), value]];
  const key = parseConfigKey(name);
  if (!(KINDS as readonly string[]).includes(key.kind)) {
    throw new ConfigError('CONFIG_KEY', `"${name}" is neither a rule nor a response policy`);
  }
  return [[key, value]];
}

/** @param where file name for messages. @throws CliError CLI_CONFIG with all errors */
export function parseRulesFile(document: unknown, where: string): TrialRules {
  if (!isRecord(document) || Object.keys(document).length === 0) {
    throw new CliError('CLI_CONFIG', `${where}: contains no rules`, {
      remedy: 'the file maps rule names to rules; `bailiff config get <key>` prints a rule',
    });
  }
  const rules: Record<string, CorrelationRule> = {};
  const policies = new Map<string, ResponsePolicy>();
  const errors: string[] = [];
  for (const [name, value] of Object.entries(document)) {
    try {
      for (const [key, one] of entriesOf(name, value)) {
        const parsed = parseConfigValue(key, JSON.stringify(one ?? null));
        if (key.kind === 'correlation') rules[key.name] = parsed as CorrelationRule;
        else policies.set(key.name, parsed as ResponsePolicy);
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error.message);
    }
  }
  if (errors.length > 0) throw new CliError('CLI_CONFIG', `${where}: refused\n${errors.join('\n')}`);
  return { rules, policies };
}
