/**
 * Rules and response policies on trial, as they are given in a file of YAML or JSON. Pure. Three ways to write it:
 *
 *   repeated-spoofing: {type: event_count, …}                     a rule by its name
 *   correlation: {repeated-spoofing: {…}}, response: {name: {…}}  by kind and name
 *   correlation.cluster._.repeated-spoofing: {…}                  by its key in the configuration
 *
 * Every mistake is told, not only the first.
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

export interface OnTrial {
  rules: Readonly<Record<string, CorrelationRule>>;
  policies: ReadonlyMap<string, ResponsePolicy>;
}

const KINDS = ['correlation', 'response'] as const;
type Kind = (typeof KINDS)[number];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws ConfigError CONFIG_KEY when the name is none */
function keyOf(kind: Kind, name: string): ConfigKey {
  const key: ConfigKey = { kind, scope: 'cluster', namespace: null, name };
  formatConfigKey(key);
  return key;
}

/** The entries of a document as keys and values; a mistake in a key is thrown. @throws ConfigError CONFIG_KEY */
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

/** @param where the file, for messages. @throws CliError CLI_CONFIG with every mistake */
export function parseRulesFile(document: unknown, where: string): OnTrial {
  if (!isRecord(document) || Object.keys(document).length === 0) {
    throw new CliError('CLI_CONFIG', `${where}: holds no rules`, {
      remedy: 'it is a map from the name of a rule to the rule; `bailiff config get <key>` shows one',
    });
  }
  const rules: Record<string, CorrelationRule> = {};
  const policies = new Map<string, ResponsePolicy>();
  const mistakes: string[] = [];
  for (const [name, value] of Object.entries(document)) {
    try {
      for (const [key, one] of entriesOf(name, value)) {
        const parsed = parseConfigValue(key, JSON.stringify(one ?? null));
        if (key.kind === 'correlation') rules[key.name] = parsed as CorrelationRule;
        else policies.set(key.name, parsed as ResponsePolicy);
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      mistakes.push(error.message);
    }
  }
  if (mistakes.length > 0) throw new CliError('CLI_CONFIG', `${where}: refused\n${mistakes.join('\n')}`);
  return { rules, policies };
}
