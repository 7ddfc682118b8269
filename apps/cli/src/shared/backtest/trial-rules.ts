/**
 * Parses trial rules, response policies and modes of packets of a YAML or JSON file. Pure. Three forms are accepted:
 *
 *   repeated-spoofing: {type: event_count, …}                     a rule by name
 *   correlation: {repeated-spoofing: {…}}, response: {name: {…}}  by kind and name
 *   correlation.cluster._.repeated-spoofing: {…}                  by configuration key
 *
 * Modes of packets are named by key: `spoof.namespace.shop.default: {modes: {tunnel: enforce}}`.
 * Reports the errors of all entries together.
 */
import {
  ConfigError,
  type ConfigKey,
  type CorrelationRule,
  formatConfigKey,
  parseConfigKey,
  parseConfigValue,
  type ResponsePolicy,
  requireReadKey,
  type SpoofScoped,
} from '@bailiff/policy';
import { CliError } from '../errors.ts';
import type { SpoofValues } from './trial-modes.ts';

export interface TrialRules {
  rules: Readonly<Record<string, CorrelationRule>>;
  policies: ReadonlyMap<string, ResponsePolicy>;
  /** By configuration key. */
  modes: SpoofValues;
}

/** For a report, in a fixed order. */
export const namesOf = ({ rules, policies, modes }: TrialRules) => ({
  rules: Object.keys(rules).sort(),
  policies: [...policies.keys()].sort(),
  modes: [...modes.keys()].sort(),
});

const KINDS = ['correlation', 'response'] as const;
type Kind = (typeof KINDS)[number];
const KEY_KINDS: readonly string[] = [...KINDS, 'spoof'];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One rule or policy of the file. */
interface Entry {
  /** Its path in the file. */
  readonly place: string;
  /** Null: `name` is a configuration key. */
  readonly kind: Kind | null;
  readonly name: string;
  readonly value: unknown;
}

function entriesOf(name: string, value: unknown): Entry[] {
  const kind = KINDS.find((one) => one === name);
  if (kind !== undefined && isRecord(value) && !Object.hasOwn(value, 'type')) {
    return Object.entries(value).map(([inner, one]) => ({ place: `${name}: ${inner}`, kind, name: inner, value: one }));
  }
  return [{ place: name, kind: /^[a-z]+\.[a-z]+\./.test(name) ? null : 'correlation', name, value }];
}

/** The name is not checked unless it is a configuration key. @throws ConfigError CONFIG_KEY */
function keyOf({ kind, name }: Entry): ConfigKey {
  if (kind !== null) return { kind, scope: 'cluster', namespace: null, name };
  const key = parseConfigKey(name);
  requireReadKey(key);
  if (KEY_KINDS.includes(key.kind)) return key;
  throw new ConfigError('CONFIG_KEY', `"${name}" is no rule, response policy or mode of packets`);
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
  const modes = new Map<string, SpoofScoped>();
  const places = new Map<string, string>();
  const errors: string[] = [];
  for (const entry of Object.entries(document).flatMap(([name, value]) => entriesOf(name, value))) {
    try {
      const key = keyOf(entry);
      const text = formatConfigKey(key);
      const other = places.get(text);
      if (other !== undefined)
        throw new ConfigError('CONFIG_KEY', `${text} is in the file twice: ${other}, ${entry.place}`);
      places.set(text, entry.place);
      const parsed = parseConfigValue(key, JSON.stringify(entry.value ?? null));
      if (key.kind === 'correlation') rules[key.name] = parsed as CorrelationRule;
      else if (key.kind === 'spoof') modes.set(text, parsed as SpoofScoped);
      else policies.set(key.name, parsed as ResponsePolicy);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error.message);
    }
  }
  if (errors.length > 0) throw new CliError('CLI_CONFIG', `${where}: refused\n${errors.join('\n')}`);
  return { rules, policies, modes };
}
