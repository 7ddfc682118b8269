/**
 * Changing keys: what is there is read, the difference shown, a person asked, and the values written on the condition that nobody changed
 * them in between. Who and why go into the log with them.
 *
 * Of several keys all are checked before the first is written, and when one is refused at its turn those before it are put back, on the
 * condition that they are still ours: nothing stays half applied, and no one else's write is undone.
 */
import { deleteConfig, readConfig, type StoredConfig, writeConfig } from '@bailiff/bus';
import { ConfigError, type ConfigKey, checkConfigWrite, formatConfigKey, parseConfigValue } from '@bailiff/policy';
import { builtIn } from '../config-keys/keys.ts';
import { confirm } from '../confirm.ts';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { comparable, type DiffLine, diffValues } from '../text/diff.ts';
import { keeperText, refuseKept } from './keeper.ts';

export interface ChangeOptions {
  reason?: string;
  by?: string;
  yes?: boolean;
  dryRun?: boolean;
  /** Keys that a custom resource keeps are written too, and kept here from then on. */
  takeOver?: boolean;
  /** What is new or deleted is shown whole, where a line would do. */
  full?: boolean;
  json?: boolean;
}

export interface Change {
  key: ConfigKey;
  stored: StoredConfig | null;
  /** Null: the key is deleted. */
  next: Record<string, unknown> | null;
  /** Why, when nothing else is said. */
  because: string;
  /** How a value is shown in the difference; JSON unless said. */
  linesOf?: (value: unknown) => string[];
  /** A new value, or one that is deleted, in one line; without it such a one is shown whole. */
  summary?: string;
}

/** What became of a key. */
export type Outcome =
  | { key: string; unchanged: true; revision: number }
  | { key: string; revision: number; value: unknown }
  | { key: string; deleted: true };

/** JSON of what is stored; undefined when nothing is, or when it is no JSON. */
export function valueIn(stored: StoredConfig | null): unknown {
  if (!stored) return undefined;
  try {
    return JSON.parse(stored.json);
  } catch {
    // Written around us. It is replaced whole.
    return undefined;
  }
}

function refuseOlder(text: string, next: Record<string, unknown>, stored: StoredConfig | null): void {
  const said = next['revision'];
  if (!stored || typeof said !== 'number' || said >= stored.revision) return;
  throw new ConfigError('CONFIG_REVISION', `${text}: revision ${said} is older than the stored ${stored.revision}`, [
    'revision',
  ]);
}

/** A value with its defaults filled in, as readers see it; as it is when they would refuse it. */
export function inEffect(key: ConfigKey, value: unknown): unknown {
  if (value === undefined) return undefined;
  try {
    return parseConfigValue(key, JSON.stringify(value));
  } catch (error) {
    if (error instanceof ConfigError) return value;
    throw error;
  }
}

/** Whether a change changes nothing that is stored; of a policy, nothing that is in force: it is stored with its defaults filled in. */
export function isSame({ key, stored, next }: Change): boolean {
  if (!next || !stored) return !next && !stored;
  const seen = (value: unknown) => (key.kind === 'runtime' ? inEffect(key, value) : value);
  return diffValues(seen(valueIn(stored)), seen(next)).length === 0;
}

/** Whether nothing is to be written: to take a key over is a change by itself. */
export function stays(change: Change, { takeOver }: Pick<ChangeOptions, 'takeOver'>): boolean {
  return isSame(change) && !(takeOver && (change.stored?.owner || change.stored?.released));
}

/** The difference in effect; empty when there is none. */
export function differenceOf({ key, stored, next, linesOf = comparable }: Change): (DiffLine | null)[] {
  const before = stored ? (valueIn(stored) ?? stored.json) : builtIn(key);
  return diffValues(inEffect(key, before), inEffect(key, next ?? builtIn(key)), linesOf);
}

/** The same as lines for a person. */
export function paintDiff({ out }: Pick<Session, 'out'>, lines: readonly (DiffLine | null)[]): string[] {
  const style = { ' ': 'dim', '-': 'red', '+': 'green' } as const;
  return lines.map((line) =>
    line === null ? out.paint('  …', 'dim') : out.paint(`${line.sign} ${line.text}`, style[line.sign]),
  );
}

/** `spoof.cluster._.default: against revision 3 by anna` */
export function headingOf({ key, stored, next }: Change): string {
  const kept = stored?.owner ? `, which ${keeperText(stored)} keeps` : '';
  const from = stored
    ? `revision ${stored.revision}${stored.by ? ` by ${stored.by}` : ''}${kept}`
    : builtIn(key) === undefined
      ? 'nothing'
      : 'the built-in value';
  const rest = key.kind === 'runtime' ? 'it is in force no more' : 'what is built in, or wider, holds again';
  return `${formatConfigKey(key)}: ${next ? `against ${from}` : `deleting ${from}; ${rest}`}`;
}

function show(session: Session, change: Change, full: boolean): void {
  const { out } = session;
  if (change.summary !== undefined && !change.stored && !full) {
    out.note(`${formatConfigKey(change.key)}: new: ${change.summary} (--full shows it)`);
    return;
  }
  out.note(headingOf(change));
  if (change.summary !== undefined && !change.next && !full) {
    out.note(`  ${change.summary} (--full shows it)`);
    return;
  }
  const lines = paintDiff(session, differenceOf(change));
  if (lines.length === 0) out.note('  nothing changes in effect');
  for (const line of lines) out.note(line);
}

/** Checks what can be checked without writing. @throws ConfigError */
export function checkChange(change: Change): void {
  if (!change.next) return;
  checkConfigWrite(change.key, JSON.stringify(change.next));
  if (!isSame(change)) refuseOlder(formatConfigKey(change.key), change.next, change.stored);
}

interface Note {
  by: string;
  why: string;
  takeOver: boolean;
}
interface Written {
  change: Change;
  outcome: Outcome;
  /** Revision of the bucket that is ours; null for a deletion. */
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

/** Puts a key back as it was before `writeOne`, unless somebody else has written since. @throws ConfigError, BusError */
async function undoOne({ bus }: Session, { change, bucketRevision }: Written, note: Note): Promise<void> {
  const { key, stored } = change;
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

/** @throws CliError CLI_STATE when what was written before a refusal could not be put back; what was refused */
async function undoAll(session: Session, written: readonly Written[], note: Note, cause: unknown): Promise<never> {
  const left: string[] = [];
  for (const one of [...written].reverse()) {
    try {
      await undoOne(session, one, note);
    } catch (error) {
      left.push(`${one.outcome.key}: ${(error as Error).message}`);
    }
  }
  if (left.length === 0) throw cause;
  const message = [`${(cause as Error).message}`, 'and what was written before it could not be put back:', ...left];
  throw new CliError('CLI_STATE', message.join('\n'), { cause, remedy: '`bailiff config history <key>` shows each' });
}

/** Writes all of several changes or none. @throws ConfigError, CliError CLI_STATE, BusError */
export async function writeAll(
  session: Session,
  changes: readonly Change[],
  options: ChangeOptions,
): Promise<Outcome[]> {
  const written: Written[] = [];
  for (const change of changes) {
    const { by = session.io.operator, reason = change.because, takeOver = false } = options;
    const note = { by, why: reason, takeOver };
    try {
      written.push(await writeOne(session, change, note));
    } catch (error) {
      await undoAll(session, written, note, error);
    }
  }
  return written.map(({ outcome }) => outcome);
}

/** From when a change of a key counts, where that is not as soon as its readers have it; null otherwise. Pure. */
export function countsFrom(key: string): string | null {
  const what = { correlation: 'it judges violations', response: 'it answers verdicts' }[key.split('.')[0] ?? ''];
  return what === undefined ? null : `${what} that the bus stores from one second after this change`;
}

function sayOutcome({ out }: Session, outcome: Outcome): void {
  if ('deleted' in outcome) out.line(`${outcome.key} is deleted`);
  else if (!('unchanged' in outcome)) out.line(`${outcome.key} is at revision ${outcome.revision}`);
  const from = countsFrom(outcome.key);
  if (from !== null && 'value' in outcome) out.note(from);
}

function questionOf(changes: readonly Change[]): string {
  const deletes = changes.every(({ next }) => next === null);
  const what = changes.length === 1 ? 'it' : `these ${changes.length}`;
  return `${deletes ? 'Delete' : 'Write'} ${what}?`;
}

/**
 * Shows, asks, writes: all of them or none. @returns what became of each, null when nothing was to be written.
 * @throws ConfigError, CliError CLI_DECLINED | CLI_STATE, BusError
 */
export async function perform(
  session: Session,
  changes: readonly Change[],
  options: ChangeOptions,
): Promise<Outcome[] | null> {
  const { io, out } = session;
  for (const change of changes) checkChange(change);
  const same = changes.filter((change) => stays(change, options));
  const different = changes.filter((change) => !stays(change, options));
  for (const { stored } of different) refuseKept(stored, options.takeOver);
  for (const { key } of same) out.note(`${formatConfigKey(key)}: nothing to change`);
  for (const change of different) show(session, change, options.full ?? false);
  if (different.length === 0) return null;
  if (options.dryRun) {
    out.note('nothing was written (--dry-run)');
    return null;
  }
  await confirm(io, questionOf(different), options.yes);
  const outcomes = await writeAll(session, different, options);
  if (!options.json) for (const outcome of outcomes) sayOutcome(session, outcome);
  return outcomes;
}

/** `perform` for one key. @returns the exit code. @throws as it does */
export async function carryOut(session: Session, change: Change, options: ChangeOptions): Promise<number> {
  const outcomes = await perform(session, [change], options);
  if (outcomes && options.json) session.out.json(outcomes[0]);
  return 0;
}

export const readStored = (session: Session, key: ConfigKey) => readConfig(session.bus, key);
