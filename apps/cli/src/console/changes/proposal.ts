/**
 * A change that the page asks for: the same value, checks and difference as `bailiff config set` and
 * `bailiff policy promote`. bus-changes.ts and resource-changes.ts write it.
 */
import { openBucket, readConfig, type StoredConfig, storedConfig } from '@bailiff/bus';
import type { ChangeRequest, ProposalView } from '@bailiff/console';
import type { Reader } from '@bailiff/insight';
import { type ConfigKey, formatConfigKey, parseConfigValue, type RuntimePolicy } from '@bailiff/policy';
import { plural } from '@bailiff/response';
import { assign, parseAssignment } from '../../shared/config/assignments.ts';
import {
  type Change,
  checkChange,
  differenceOf,
  effectiveFrom,
  headingOf,
  valueIn,
  valueToEdit,
} from '../../shared/config/change.ts';
import { builtIn, parseKey } from '../../shared/config-keys/keys.ts';
import { CliError } from '../../shared/errors.ts';
import { shortName } from '../../shared/policy/names.ts';
import { prepare, readReach } from '../../shared/policy/prepare.ts';
import { caveatsOf, readWouldDeny } from '../../shared/policy/would-deny.ts';
import { yamlLines } from '../../shared/text/yaml.ts';
import { incompleteOf } from '../../shared/unsent.ts';

type Value = Record<string, unknown>;

/** Kinds that a page changes. */
const KINDS: readonly string[] = ['correlation', 'response', 'runtime', 'spoof'];
export const MAX_ASSIGNMENTS = 8;
const MAX_LINES = 120;
/** How far back a proposal counts what a policy would have denied. */
const SINCE_MS = 7 * 86_400_000;

/** @throws ConfigError CONFIG_KEY; CliError CLI_USAGE */
export function keyToChange(text: string): ConfigKey {
  const key = parseKey(text);
  if (!KINDS.includes(key.kind)) {
    throw new CliError('CLI_USAGE', `${text} cannot be changed here`, { remedy: 'use `bailiff config set`' });
  }
  return key;
}

/** The stored values, by key. */
export async function storedByKey({ bus }: Pick<Reader, 'bus'>): Promise<Map<string, StoredConfig>> {
  const entries = await openBucket(bus, 'bailiff_config').entries();
  return new Map(entries.map((entry) => [entry.key, storedConfig(entry)]));
}

/** What the assignments make of the stored value, or of the built-in one. @throws CliError CLI_NOT_FOUND */
export function nextValue(key: ConfigKey, stored: StoredConfig | null, assignments: readonly string[]): Value {
  if (!stored && builtIn(key) === undefined)
    throw new CliError('CLI_NOT_FOUND', `${formatConfigKey(key)}: no value is stored`);
  return assigned(valueToEdit(key, stored), assignments);
}

/** @throws CliError CLI_USAGE */
export function assigned(base: Value, assignments: readonly string[]): Value {
  if (assignments.length === 0 || assignments.length > MAX_ASSIGNMENTS)
    throw new CliError('CLI_USAGE', `a change has 1 to ${MAX_ASSIGNMENTS} fields`);
  return assign(base, assignments.map(parseAssignment));
}

/** With the checks of the command that writes it. @throws ConfigError; PolicyError; CliError */
export async function checkedChange(
  reader: Reader,
  key: ConfigKey,
  stored: StoredConfig | null,
  next: Value,
): Promise<Change> {
  const change: Change = { key, stored, next, because: '', linesOf: yamlLines };
  checkChange(change);
  if (key.kind === 'runtime') {
    const policy = parseConfigValue(key, JSON.stringify(next)) as RuntimePolicy;
    const { namespace, name } = key;
    await prepare(reader, [{ key: formatConfigKey(key), namespace, name, policy, file: shortName(key) }], '');
  }
  return change;
}

/** @throws as the parts */
export async function changeOf(reader: Reader, { key: text, assignments }: ChangeRequest): Promise<Change> {
  const key = keyToChange(text);
  const stored = await readConfig(reader.bus, key);
  return checkedChange(reader, key, stored, nextValue(key, stored, assignments));
}

export async function proposalOf(reader: Reader, change: Change, by: string, basis: string): Promise<ProposalView> {
  const key = formatConfigKey(change.key);
  const lines = differenceOf(change);
  const effect = effectiveFrom(key);
  return {
    key,
    heading: headingOf(change),
    diff: lines.slice(0, MAX_LINES).map((line) => line ?? { sign: '…' as const, text: '' }),
    diffOmitted: Math.max(0, lines.length - MAX_LINES),
    by,
    basis,
    notes: [
      ...(lines.length === 0 ? ['The effective value stays the same.'] : []),
      ...(effect === null ? [] : [`It ${effect}.`]),
      ...(await enforcedNotes(reader, change)),
    ],
  };
}

/** For a policy that the change enforces: what that would have denied. */
async function enforcedNotes(reader: Reader, { key, stored, next }: Change): Promise<string[]> {
  const modeOf = (value: unknown) => (value as { mode?: unknown } | undefined)?.mode;
  if (key.kind !== 'runtime' || modeOf(next) !== 'enforce' || modeOf(valueIn(stored)) === 'enforce') return [];
  const policy = parseConfigValue(key, JSON.stringify(next)) as RuntimePolicy;
  const named = { key: formatConfigKey(key), name: key.name, policy };
  const sinceMs = reader.nowMs() - SINCE_MS;
  const [found, reach] = await Promise.all([readWouldDeny(reader, named, sinceMs), readReach(reader)]);
  const where = reach(named.key, stored?.revision ?? 0);
  const pods = new Set(found.groups.map(({ key: { pod, nodeName } }) => pod?.uid ?? nodeName)).size;
  const denied =
    found.operations === 0
      ? 'nothing that is recorded'
      : `${plural(found.operations, 'operation')} of ${plural(pods, 'pod')}`;
  return [
    `Enforcing it would have denied ${denied} in the last 7 days.`,
    `Now: ${where}. What happens where it is not in force is not recorded, and not counted here.`,
    ...caveatsOf(found, policy),
    ...(await incompleteOf(reader, { ...found, sinceMs })),
  ];
}
