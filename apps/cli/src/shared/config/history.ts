/**
 * Earlier values of a key, from CONFIG_LOG: read, shown (`config history`, `policy history`), and written again as a
 * new revision (`config rollback`, `policy rollback`). Verdicts name their configuration by its sequences.
 */
import {
  CONFIG_BUCKET,
  CONFIG_HISTORY,
  isDeletion,
  isReleased,
  openBucket,
  ownerIn,
  ROOT,
  readLogStart,
  readNewest,
  type StreamMessage,
} from '@bailiff/bus';
import { clockTime, isoMicros } from '@bailiff/insight';
import { type ConfigKey, configRefusal, formatConfigKey, type ResourceOwner, SIGNATURE_HEADER } from '@bailiff/policy';
import { CliError } from '../errors.ts';
import { poll } from '../poll.ts';
import type { Session } from '../session.ts';
import { diffValues } from '../text/diff.ts';
import type { Column } from '../text/table.ts';
import { type Change, type ChangeOptions, carryOut, readStored } from './change.ts';
import { ownerJson, ownerText, signedJson, signerName } from './owner.ts';

export interface Revision {
  /** Sequence in CONFIG_LOG. */
  sequence: number;
  storedAtMicros: number;
  /** `revision` of the value; for a deletion, of the deleted value. */
  revision: number;
  /** Undefined for a deletion. */
  value: unknown;
  /** The stored text; empty for a deletion. */
  text: string;
  by: string;
  why: string;
  owner: ResourceOwner | null;
  released: boolean;
  /** Not verified; empty: unsigned. */
  signature: string;
}

/** CONFIG_LOG follows the bucket with a delay; the longest wait for it. */
const LOG_WAIT_MS = 3_000;
const LOG_POLL_MS = 50;

/** All logged revisions of a key, oldest first, including the newest value of the bucket. */
export async function readHistory(session: Session, key: ConfigKey): Promise<Revision[]> {
  const { bus, out, io } = session;
  const text = formatConfigKey(key);
  const newest = await openBucket(bus, CONFIG_BUCKET).newest(text);
  const isComplete = (revisions: readonly Revision[]) =>
    !newest || revisions.at(-1)?.text === newest.value.toString('utf8');
  const revisions = await poll(
    { nowMs: io.nowMs },
    { withinMs: LOG_WAIT_MS, everyMs: LOG_POLL_MS },
    () => readLog(session, text),
    isComplete,
  );
  if (!isComplete(revisions)) out.note(`CONFIG_LOG does not contain the newest value of ${text} yet`);
  await noteMadeAgain(session, text);
  return revisions;
}

/** The copies in a log that was made again have its time, and the bucket has their own. */
async function noteMadeAgain({ bus, out, io }: Session, key: string): Promise<void> {
  const log = await readLogStart(bus);
  // A restored log keeps its times.
  if (!log || log.firstMicros < log.createdMicros) return;
  let copies = 0;
  await readNewest(bus, `KV_${CONFIG_BUCKET}`, {
    sinceMs: 0,
    filterSubjects: [`$KV.${CONFIG_BUCKET}.${key}`],
    onMessage: ({ timestampMicros }) => {
      if (timestampMicros < log.createdMicros) copies += 1;
    },
    signal: io.signal,
  });
  if (copies === 0) return;
  const made = `CONFIG_LOG was made again at ${isoMicros(log.createdMicros)}`;
  out.note(`${made}: of the changes from before (${copies}), it has that time, not their own`);
}

async function readLog({ bus, io }: Session, key: string): Promise<Revision[]> {
  const revisions: Revision[] = [];
  await readNewest(bus, 'CONFIG_LOG', {
    sinceMs: 0,
    filterSubjects: [`${ROOT}.config.${key}`],
    onMessage: (message) => {
      revisions.push(revisionIn(message));
    },
    signal: io.signal,
  });
  return revisions;
}

/** The revision that a message of CONFIG_LOG stores. */
export function revisionIn(message: StreamMessage): Revision {
  const { sequence, timestampMicros, headers, data } = message;
  const header = (name: string) => headers?.get(name) ?? '';
  const deleted = isDeletion(message);
  const text = Buffer.from(data).toString('utf8');
  const value = deleted ? undefined : parse(text);
  return {
    sequence,
    storedAtMicros: timestampMicros,
    revision: deleted ? Number(header('Bailiff-Revision')) || 0 : revisionOf(value),
    value,
    text,
    by: header('Bailiff-By'),
    why: header('Bailiff-Why'),
    owner: ownerIn(header),
    released: isReleased(header),
    signature: header(SIGNATURE_HEADER),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not written by a Bailiff client; shown as text.
    return text;
  }
}

function revisionOf(value: unknown): number {
  const revision = (value as { revision?: unknown } | null)?.revision;
  return typeof revision === 'number' ? revision : 0;
}

/** `+3 -1`: lines added and removed since the previous revision. Pure. */
export function changeOf(before: Revision | undefined, after: Revision): string {
  if (after.value === undefined) return 'deleted';
  if (before?.value === undefined) return 'created';
  const lines = diffValues(before.value, after.value);
  const count = (sign: string) => lines.filter((line) => line?.sign === sign).length;
  return `+${count('+')} -${count('-')}`;
}

/**
 * The newest entry with revision `to`; for null, the newest entry that differs from the current
 * value, and that readers do not refuse: they have none of those in force. Pure.
 * @param isRefused whether readers refuse a stored text. @throws CliError CLI_NOT_FOUND
 */
export function rollbackTarget(
  history: readonly Revision[],
  to: number | null,
  isRefused: (text: string) => boolean = () => false,
): Revision {
  const current = history.at(-1);
  if (!current) throw new CliError('CLI_NOT_FOUND', 'this key has no history: no value was ever stored');
  const earlier = history.slice(0, -1);
  const target =
    to === null
      ? earlier.findLast(
          ({ value, text }) => (value === undefined || !isRefused(text)) && diffValues(current.value, value).length > 0,
        )
      : history.findLast((one) => one.revision === to && one.value !== undefined);
  if (target) return target;
  // Before the first value of a key there is only the built-in one. Of a full history, the first one is not known.
  const isWhole = history.length < CONFIG_HISTORY;
  if (to === null && current.value !== undefined && isWhole)
    return { ...current, revision: 0, value: undefined, text: '' };
  const known = history.filter(({ value }) => value !== undefined).map(({ revision }) => revision);
  throw new CliError(
    'CLI_NOT_FOUND',
    to === null
      ? 'no earlier value that is kept is valid and differs from the current one'
      : `the key has no revision ${to}`,
    {
      remedy: `known revisions: ${known.slice(-12).join(', ')}`,
    },
  );
}

const HISTORY_COLUMNS: readonly Column[] = [
  { title: 'REVISION', align: 'right' },
  { title: 'TIME (UTC)' },
  { title: 'LINES' },
  { title: 'OWNER', min: 12, cut: 'within' },
  { title: 'SIGNED AS', spare: true },
  { title: 'BY', min: 10 },
  { title: 'WHY', min: 12 },
  { title: 'LOG', align: 'right', spare: true },
];

export async function showHistory(session: Session, key: ConfigKey, json: boolean): Promise<void> {
  const { out } = session;
  const revisions = await readHistory(session, key);
  if (json) {
    for (const { storedAtMicros, value, text: _stored, owner, released, signature, ...rest } of revisions) {
      out.jsonLine({
        ...rest,
        keptBy: ownerJson({ owner, released }),
        storedAt: isoMicros(storedAtMicros),
        signed: signedJson({ signature }),
        deleted: value === undefined,
        value: value ?? null,
      });
    }
    return;
  }
  if (revisions.length === 0) return out.note(`${formatConfigKey(key)}: no value was ever stored`);
  out.rows(HISTORY_COLUMNS, revisions, (one, nowMs, index) => [
    one.value === undefined ? '-' : String(one.revision),
    clockTime(one.storedAtMicros, nowMs),
    changeOf(revisions[index - 1], one),
    ownerText(one),
    signerName(one),
    one.by,
    one.why,
    `#${one.sequence}`,
  ]);
}

/**
 * @param to the revision to restore; null = the last one that differs from the current value
 * @throws CliError CLI_NOT_FOUND | CLI_CONFIG; the errors of `carryOut`
 */
export async function rollBack(
  session: Session,
  key: ConfigKey,
  to: number | null,
  options: ChangeOptions,
  linesOf?: Change['linesOf'],
): Promise<void> {
  const name = formatConfigKey(key);
  const isRefused = (text: string) => configRefusal(name, text) !== '';
  const target = rollbackTarget(await readHistory(session, key), to, isRefused);
  const { value, revision: number, text: json, signature } = target;
  const stored = await readStored(session, key);
  if (typeof value === 'string') throw new CliError('CLI_CONFIG', `revision ${number} is not JSON`);
  const { revision, ...next } = (value ?? {}) as Record<string, unknown>;
  const toNothing = key.kind === 'runtime' ? 'rollback to before its creation' : 'rollback to the built-in value';
  const because = value === undefined ? toNothing : `rollback to revision ${String(revision)}`;
  const reason = options.reason === undefined ? {} : { reason: `${because}: ${options.reason}` };
  const what = { key, stored, next: value === undefined ? null : next, basis: { json, signature } };
  const change = { ...what, because, ...(linesOf ? { linesOf } : {}) };
  return carryOut(session, change, { ...options, ...reason });
}
