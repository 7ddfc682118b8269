/**
 * Changes stored configuration: reads the keys, shows the difference, asks for confirmation, and
 * writes with the revision that was read as the expected one. The change log records author and
 * reason.
 *
 * Several keys are written together or not at all: all are checked first, and if a write is
 * refused, the earlier writes are reverted. A reverted write is also conditional, so it never
 * overwrites another author's change.
 */
import {
  BusError,
  deleteConfig,
  isUnavailable,
  readConfig,
  type StoredConfig,
  type WriteConfigOptions,
  writeConfig,
} from '@bailiff/bus';
import {
  CONFIG_KINDS,
  ConfigError,
  type ConfigKey,
  type ConfigSigner,
  checkConfigWrite,
  formatConfigKey,
  MAX_REVISION,
  parseConfigValue,
  SignedConfig,
  SPOOF_CLUSTER_KEY,
} from '@bailiff/policy';
import { verifierKey } from '@bailiff/policy/note';
import type { Command } from 'commander';
import { builtIn, initialValue } from '../config-keys/keys.ts';
import { confirm } from '../confirm.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { readSigner, SIGN_HELP, signing } from '../key-file.ts';
import type { Session } from '../session.ts';
import { comparable, type DiffLine, diffValues } from '../text/diff.ts';
import { ownerText, refuseOwned } from './owner.ts';

export interface Change {
  key: ConfigKey;
  stored: StoredConfig | null;
  /** Null deletes the key. */
  next: Record<string, unknown> | null;
  /** The value of the bus that `next` has fields of. A signature of `next` covers those too. */
  basis?: Pick<StoredConfig, 'json' | 'signature'> | null;
  /** Reason for the log when --reason is not given. */
  because: string;
  /** Renders a value for the difference; JSON by default. */
  linesOf?: (value: unknown) => string[];
  /** One line instead of the full text of a new or deleted value. */
  summary?: string;
}

/** Result for one key. */
export type Outcome =
  | { key: string; unchanged: true; revision: number }
  | { key: string; revision: number; value: unknown }
  | { key: string; deleted: true };

/** The stored JSON; undefined if nothing is stored or it is not JSON. */
export function valueIn(stored: StoredConfig | null): unknown {
  if (!stored) return undefined;
  try {
    return JSON.parse(stored.json);
  } catch {
    // Not written by a Bailiff client. The whole value is replaced.
    return undefined;
  }
}

/** The value that single fields change: the stored one, or what `initialValue` gives. */
export function valueToEdit(key: ConfigKey, stored: StoredConfig | null): Record<string, unknown> {
  const { revision: _renewed, ...value } = (valueIn(stored) ?? initialValue(key)) as Record<string, unknown>;
  return value;
}

function refuseOlder(text: string, next: Record<string, unknown>, stored: StoredConfig | null): void {
  const given = next['revision'];
  if (!stored || typeof given !== 'number' || given >= stored.revision || stored.revision >= MAX_REVISION) return;
  throw new ConfigError('CONFIG_REVISION', `${text}: revision ${given} is older than the stored ${stored.revision}`, [
    'revision',
  ]);
}

/** The value with its defaults, as readers see it; unchanged if readers would refuse it. */
function withDefaults(key: ConfigKey, value: unknown): unknown {
  if (value === undefined) return undefined;
  try {
    return parseConfigValue(key, JSON.stringify(value));
  } catch (error) {
    if (error instanceof ConfigError) return value;
    throw error;
  }
}

/**
 * Whether the stored value stays the same. Runtime policies are compared with their defaults, as
 * they are stored with them.
 */
export function isSame({ key, stored, next }: Change): boolean {
  if (!next || !stored) return !next && !stored;
  const comparableOf = (value: unknown) => (key.kind === 'runtime' ? withDefaults(key, value) : value);
  return diffValues(comparableOf(valueIn(stored)), comparableOf(next)).length === 0;
}

/** Whether nothing has to be written. Taking over and signing a key are writes of their own. */
export function isUnchanged(change: Change, { takeOver, sign }: Pick<ChangeOptions, 'takeOver' | 'sign'>): boolean {
  const { stored } = change;
  if (!isSame(change) || (takeOver && (stored?.owner || stored?.released))) return false;
  // A key without a value may lack a signed deletion.
  return !sign || (stored !== null && isSignedAs(stored, sign));
}

/** Whether a stored value has the signature of this signer. */
export function isSignedAs(
  { key, json, signature }: Pick<StoredConfig, 'key' | 'json' | 'signature'>,
  { name, key: privateKey }: ConfigSigner,
): boolean {
  const own = { verifier: verifierKey(name, privateKey), kinds: new Set(CONFIG_KINDS) };
  return new SignedConfig({ signers: [own], since: new Map() }).refusal({ key, json, signature }) === '';
}

/** Whether a signature of the change would cover fields of a stored value that its signer has not signed. */
function coversUnsigned({ key, next, basis }: Change, sign: ConfigSigner | undefined): boolean {
  return sign !== undefined && next !== null && !!basis && !isSignedAs({ key: formatConfigKey(key), ...basis }, sign);
}

/**
 * An administrator of the bus may have changed the value that a change begins with: a person must read all of it
 * before the signature. @throws CliError CLI_STATE without a person
 */
export function refuseUnread(change: Change, sign: ConfigSigner | undefined): void {
  if (!coversUnsigned(change, sign)) return;
  const text = formatConfigKey(change.key);
  throw new CliError('CLI_STATE', `${text}: the stored value has no signature of ${sign?.name}, which would cover it`, {
    remedy: `read and sign it with \`bailiff config sign ${text}\`, repeat without --yes, or pass the whole value with -f`,
  });
}

/** The difference in effective values; empty if there is none. */
export function differenceOf({ key, stored, next, linesOf = comparable }: Change): (DiffLine | null)[] {
  const before = stored ? (valueIn(stored) ?? stored.json) : builtIn(key);
  return diffValues(withDefaults(key, before), withDefaults(key, next ?? builtIn(key)), linesOf);
}

/** The difference with colours. */
export function paintDiff({ out }: Pick<Session, 'out'>, lines: readonly (DiffLine | null)[]): string[] {
  const style = { ' ': 'dim', '-': 'red', '+': 'green' } as const;
  return lines.map((line) =>
    line === null ? out.paint('  …', 'dim') : out.paint(`${line.sign} ${line.text}`, style[line.sign]),
  );
}

function afterDeletion(key: ConfigKey): string {
  if (key.kind === 'runtime') return 'it is no longer in force';
  if (formatConfigKey(key) === SPOOF_CLUSTER_KEY)
    return 'the built-in value applies again, but collectors with initialMode audit then audit every vector';
  return 'the built-in value, or that of a wider scope, applies again';
}

/** `spoof.cluster._.default: changes revision 3 by anna` */
export function headingOf({ key, stored, next }: Change): string {
  const owner = stored?.owner ? `, owned by ${ownerText(stored)}` : '';
  const target = stored
    ? `revision ${stored.revision}${stored.by ? ` by ${stored.by}` : ''}${owner}`
    : builtIn(key) === undefined
      ? 'no value'
      : 'the built-in value';
  if (!next && !stored) return `${formatConfigKey(key)}: no value; signs its deletion`;
  if (!next) return `${formatConfigKey(key)}: deletes ${target}; ${afterDeletion(key)}`;
  return `${formatConfigKey(key)}: ${target === 'no value' ? 'adds a value' : `changes ${target}`}`;
}

function showChange(session: Session, change: Change, { full = false, sign }: ChangeOptions): void {
  const { out } = session;
  if (coversUnsigned(change, sign)) {
    out.note(
      `${formatConfigKey(change.key)}: ${sign?.name} has not signed the stored value: read all of what you sign`,
    );
    const whole = diffValues(undefined, withDefaults(change.key, change.next), change.linesOf ?? comparable);
    for (const line of paintDiff(session, whole)) out.note(line);
    return;
  }
  if (change.summary !== undefined && !change.stored && !full) {
    out.note(`${formatConfigKey(change.key)}: new: ${change.summary} (--full shows all)`);
    return;
  }
  out.note(headingOf(change));
  if (change.summary !== undefined && !change.next && !full) {
    out.note(`  ${change.summary} (--full shows all)`);
    return;
  }
  const lines = paintDiff(session, differenceOf(change));
  if (lines.length === 0) out.note('  the effective value stays the same');
  for (const line of lines) out.note(line);
}

/** Checks a change without writing it. @throws ConfigError */
export function checkChange(change: Change): void {
  if (!change.next) return;
  checkConfigWrite(change.key, JSON.stringify(change.next));
  if (!isSame(change)) refuseOlder(formatConfigKey(change.key), change.next, change.stored);
}

interface Note {
  by: string;
  why: string;
  takeOver: boolean;
  sign?: WriteConfigOptions['sign'];
  signer?: ConfigSigner | undefined;
}
interface Written {
  change: Change;
  outcome: Outcome;
  /** Bucket revision of the write; null for a deletion. */
  bucketRevision: number | null;
}

async function writeOne({ bus }: Session, change: Change, note: Note): Promise<Written> {
  const { key, stored, next } = change;
  const text = formatConfigKey(key);
  const write = { ...note, expectedRevision: stored?.bucketRevision ?? 0 };
  if (!next) {
    await deleteConfig(bus, key, write);
    return { change, outcome: { key: text, deleted: true }, bucketRevision: null };
  }
  const { revision, json, bucketRevision } = await writeConfig(bus, key, next, write);
  return { change, outcome: { key: text, revision, value: JSON.parse(json) }, bucketRevision };
}

/**
 * Restores the state before `writeOne`, unless another author has written since. A state that the signer has not
 * signed is not restored: an administrator of the bus may have made it, and the conflict too. @throws ConfigError,
 * BusError
 */
async function revertOne({ bus }: Session, { change, bucketRevision }: Written, note: Note): Promise<void> {
  const { key, stored } = change;
  if (note.signer && !(stored && isSignedAs(stored, note.signer)))
    throw new ConfigError(
      'CONFIG_SIGNATURE',
      `stays as written: ${note.signer.name} has not signed what was there before`,
    );
  const write = {
    ...note,
    why: `undone: ${note.why}`,
    expectedRevision: bucketRevision ?? 0,
    takeOver: true,
    ...(stored?.owner ? { owner: stored.owner } : {}),
  };
  if (!stored) return deleteConfig(bus, key, write);
  const { revision: _renewed, ...value } = (valueIn(stored) ?? {}) as Record<string, unknown>;
  await writeConfig(bus, key, value, { ...write, restores: true });
}

/** @throws CliError CLI_STATE if an earlier write could not be reverted; otherwise `cause` */
async function revertAll(session: Session, written: readonly Written[], note: Note, cause: unknown): Promise<never> {
  const failed: string[] = [];
  for (const one of [...written].reverse()) {
    try {
      await revertOne(session, one, note);
    } catch (error) {
      failed.push(`${one.outcome.key}: ${(error as Error).message}`);
    }
  }
  if (failed.length === 0) throw cause;
  const message = [`${(cause as Error).message}`, 'earlier writes could not be reverted:', ...failed];
  throw new CliError('CLI_STATE', message.join('\n'), { cause, remedy: 'see `bailiff config history <key>`' });
}

/** A change without a response in time that the bus has all the same; null: it has not, or does not respond. */
async function unanswered(session: Session, change: Change, cause: unknown): Promise<Written | null> {
  if (!(cause instanceof BusError) || !isUnavailable(cause)) return null;
  const { key, stored: before } = change;
  const stored = await readStored(session, key).catch(() => undefined);
  const isOld = (stored?.bucketRevision ?? 0) === (before?.bucketRevision ?? 0);
  if (stored === undefined || isOld || !isSame({ ...change, stored })) return null;
  const text = formatConfigKey(key);
  if (!stored) return { change, outcome: { key: text, deleted: true }, bucketRevision: null };
  const { revision, json, bucketRevision } = stored;
  return { change, outcome: { key: text, revision, value: JSON.parse(json) }, bucketRevision };
}

/** Writes all changes or none. @throws ConfigError, CliError CLI_STATE, BusError */
export async function writeAll(
  session: Session,
  changes: readonly Change[],
  options: ChangeOptions,
): Promise<Outcome[]> {
  const written: Written[] = [];
  for (const change of changes) {
    const note = { ...noteOf(session.io, options, change.because), signer: options.sign };
    try {
      written.push(await writeOne(session, change, note));
    } catch (error) {
      const stored = await unanswered(session, change, error);
      if (stored) written.push(stored);
      else await revertAll(session, written, note, error);
    }
  }
  return written.map(({ outcome }) => outcome);
}

/** When a change takes effect, if not immediately; null otherwise. Pure. */
export function effectiveFrom(key: string): string | null {
  const what = { correlation: 'violations', response: 'verdicts' }[key.split('.')[0] ?? ''];
  return what === undefined ? null : `applies to ${what} that the bus stores from one second after this change`;
}

function reportOutcome({ out }: Session, outcome: Outcome): void {
  if ('deleted' in outcome) out.line(`${outcome.key}: deleted`);
  else if (!('unchanged' in outcome)) out.line(`${outcome.key}: revision ${outcome.revision}`);
  const from = effectiveFrom(outcome.key);
  if (from !== null && 'value' in outcome) out.note(from);
}

function questionOf(changes: readonly Change[]): string {
  const deletes = changes.every(({ next }) => next === null);
  const what = changes.length === 1 ? 'it' : `these ${changes.length} keys`;
  return `${deletes ? 'Delete' : 'Write'} ${what}?`;
}

/**
 * Shows the changes, asks, and writes all of them or none.
 * @returns the result for each key, or null if nothing was to be written
 * @throws ConfigError, CliError CLI_DECLINED | CLI_STATE, BusError
 */
export async function perform(
  session: Session,
  changes: readonly Change[],
  options: ChangeOptions,
): Promise<Outcome[] | null> {
  const { io, out } = session;
  for (const change of changes) checkChange(change);
  const same = changes.filter((change) => isUnchanged(change, options));
  const different = changes.filter((change) => !isUnchanged(change, options));
  for (const { stored } of different) refuseOwned(stored, options.takeOver);
  for (const { key } of same) out.note(`${formatConfigKey(key)}: nothing to change`);
  for (const change of different) showChange(session, change, options);
  if (different.length === 0) return null;
  if (options.dryRun) {
    out.note('nothing was written (--dry-run)');
    return null;
  }
  if (options.yes) for (const change of different) refuseUnread(change, options.sign);
  await confirm(io, questionOf(different), options.yes);
  const outcomes = await writeAll(session, different, options);
  if (!options.json) for (const outcome of outcomes) reportOutcome(session, outcome);
  return outcomes;
}

/** `perform` for one key. @throws the same errors */
export async function carryOut(session: Session, change: Change, options: ChangeOptions): Promise<void> {
  const outcomes = await perform(session, [change], options);
  if (outcomes && options.json) session.out.json(outcomes[0]);
}

export const readStored = (session: Pick<Session, 'bus'>, key: ConfigKey) => readConfig(session.bus, key);

/** Options of the commands that change stored configuration. */
export interface ChangeOptions {
  reason?: string;
  by?: string;
  yes?: boolean;
  dryRun?: boolean;
  /** Also write keys that a custom resource owns; the CLI owns them from then on. */
  takeOver?: boolean;
  /** Show new and deleted values in full instead of one line. */
  full?: boolean;
  /** Signs the change; a value that is the same is written if it lacks the signature. */
  sign?: ConfigSigner;
  json?: boolean;
}

/** Adds the options of every command that changes a key. */
/** What the change log says of a change, and its signature. @param because reason, unless --reason gives one */
export function noteOf(
  io: CliIo,
  { by = io.operator, reason: why, takeOver = false, sign }: ChangeOptions,
  because: string,
) {
  return { by, why: why ?? because, takeOver, ...signing(sign, io.nowMs()) };
}

export function withChangeOptions(command: Command): Command {
  return command
    .option('--reason <text>', 'reason, for the change log')
    .option('--by <name>', 'author, for the change log (default: user@host)')
    .option('--sign <keyfile>', SIGN_HELP, readSigner)
    .option('-y, --yes', 'do not ask for confirmation')
    .option('--take-over', 'write a key that a custom resource owns; the CLI owns it from then on')
    .option('--dry-run', 'show the difference without writing')
    .option('--json', 'print the result as one JSON document');
}
