/** `config list`, `get`, `history` and `validate`: looking at the configuration. */
import { openBucket, storedConfig } from '@bailiff/bus';
import { ConfigError, type ConfigKey, formatConfigKey, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { builtIn, builtInKeys } from '../config-keys/keys.ts';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { type Cell, type Column, table } from '../text/table.ts';
import { clockTime, isoMicros } from '../text/time.ts';
import { readStored, valueIn } from './change.ts';
import { changeOf, readHistory } from './history.ts';
import { type Kept, keeperJson, keeperText, keptNote } from './keeper.ts';
import { meantKey, storedKeys } from './new-key.ts';

interface Listed {
  key: string;
  kind: string;
  revision: number | null;
  changedAtMicros: number | null;
  by: string;
  why: string;
  kept: Kept;
  /** Why no component takes it; empty when it is taken. */
  refused: string;
}

const LIST_COLUMNS: readonly Column[] = [
  // Never shortened: it is what other commands are given.
  { title: 'KEY' },
  { title: 'REVISION', align: 'right' },
  { title: 'CHANGED (UTC)' },
  { title: 'KEPT BY', min: 8, cut: 'within', spare: true },
  { title: 'BY', min: 8, spare: true },
  { title: 'WHY', min: 10, spare: true },
];

/** Whether what stands under a key would be taken; the first line of why not. */
export function refusalOf(key: string, json: string): string {
  try {
    parseConfigValue(parseConfigKey(key), json);
    return '';
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n').slice(-1)[0] ?? error.message;
    throw error;
  }
}

async function readList({ bus }: Session): Promise<Listed[]> {
  const entries = await openBucket(bus, 'bailiff_config').entries();
  const stored = entries.map((entry): Listed => {
    const { key, revision, timestampMicros: changedAtMicros, by, why, json, ...kept } = storedConfig(entry);
    const kind = key.split('.')[0] ?? '';
    return { key, kind, revision, changedAtMicros, by, why, kept, refused: refusalOf(key, json) };
  });
  const known = new Set(stored.map(({ key }) => key));
  const rest = builtInKeys()
    .filter((key) => !known.has(key))
    .map((key) => ({
      key,
      kind: key.split('.')[0] ?? '',
      revision: null,
      changedAtMicros: null,
      by: '',
      why: '',
      kept: { owner: null, released: false },
      refused: '',
    }));
  return [...stored, ...rest].sort((a, b) => (a.key < b.key ? -1 : 1));
}

export async function list(session: Session, kind: string | undefined, json: boolean): Promise<number> {
  const { out, io } = session;
  const rows = (await readList(session)).filter((row) => kind === undefined || row.kind === kind);
  if (json) {
    out.json(
      rows.map(({ changedAtMicros, kept, ...row }) => ({
        ...row,
        keptBy: row.revision === null ? null : keeperJson(kept),
        changedAt: changedAtMicros === null ? null : isoMicros(changedAtMicros),
        builtIn: row.revision === null,
      })),
    );
    return 0;
  }
  const cells = rows.map((row): Cell[] => [
    row.key,
    row.revision === null ? { text: 'built in', style: 'dim' } : String(row.revision),
    row.changedAtMicros === null ? '' : clockTime(row.changedAtMicros, io.nowMs()),
    row.revision === null ? '' : keeperText(row.kept),
    row.by,
    row.refused === '' ? row.why : { text: `REFUSED ${row.refused}`, style: 'red' },
  ]);
  out.lines(table(LIST_COLUMNS, cells, out.table));
  for (const row of rows) if (row.refused !== '') out.note(`${row.key} is refused by every reader: ${row.refused}`);
  return 0;
}

export async function get(session: Session, key: ConfigKey, revision: number | null, json: boolean): Promise<number> {
  const { out, io } = session;
  const text = formatConfigKey(key);
  if (revision !== null) {
    const found = (await readHistory(session, key)).findLast(
      (one) => one.revision === revision && one.value !== undefined,
    );
    if (!found)
      throw new CliError('CLI_NOT_FOUND', `${text} has no revision ${revision}`, {
        remedy: `see \`bailiff config history ${text}\``,
      });
    out.json(
      json
        ? {
            key: text,
            revision,
            changedAt: isoMicros(found.storedAtMicros),
            by: found.by,
            why: found.why,
            value: found.value,
          }
        : found.value,
    );
    return 0;
  }
  const stored = await readStored(session, key);
  const value = stored ? (valueIn(stored) ?? stored.json) : builtIn(key);
  if (value === undefined) {
    const meant = meantKey(key, await storedKeys(session));
    throw new CliError('CLI_NOT_FOUND', `nothing is stored under ${text}, and nothing is built in`, {
      remedy: `${meant === null ? '' : `did you mean ${meant}?\n`}\`bailiff config list\` shows what there is`,
    });
  }
  if (json) {
    const changedAt = stored ? isoMicros(stored.timestampMicros) : null;
    out.json({
      key: text,
      revision: stored?.revision ?? null,
      changedAt,
      by: stored?.by ?? '',
      why: stored?.why ?? '',
      keptBy: stored ? keeperJson(stored) : null,
      builtIn: !stored,
      value,
    });
    return 0;
  }
  const why = stored?.why ? `: ${stored.why}` : '';
  out.note(
    stored
      ? `revision ${stored.revision}, ${clockTime(stored.timestampMicros, io.nowMs())} by ${stored.by || 'somebody'}${why}${keptNote(stored)}`
      : 'built in: nothing is stored under this key',
  );
  out.json(value);
  return 0;
}

const HISTORY_COLUMNS: readonly Column[] = [
  { title: 'REVISION', align: 'right' },
  { title: 'TIME (UTC)' },
  { title: 'LINES' },
  { title: 'KEPT BY', min: 12, cut: 'within' },
  { title: 'BY', min: 10 },
  { title: 'WHY', min: 12 },
  { title: 'LOG', align: 'right', spare: true },
];

export async function history(session: Session, key: ConfigKey, json: boolean): Promise<number> {
  const { out, io } = session;
  const revisions = await readHistory(session, key);
  if (json) {
    for (const { storedAtMicros, value, text: _stored, owner, released, ...rest } of revisions) {
      out.jsonLine({
        ...rest,
        keptBy: keeperJson({ owner, released }),
        storedAt: isoMicros(storedAtMicros),
        deleted: value === undefined,
        value: value ?? null,
      });
    }
    return 0;
  }
  if (revisions.length === 0) {
    out.note(`${formatConfigKey(key)}: nothing was ever stored under it`);
    return 0;
  }
  const cells = revisions.map((one, index): Cell[] => [
    one.value === undefined ? '-' : String(one.revision),
    clockTime(one.storedAtMicros, io.nowMs()),
    changeOf(revisions[index - 1], one),
    keeperText(one),
    one.by,
    one.why,
    `#${one.sequence}`,
  ]);
  out.lines(table(HISTORY_COLUMNS, cells, out.table));
  return 0;
}
