/** `config list` and `config get`. */
import { openBucket, signedConfigBy, storedConfig } from '@bailiff/bus';
import { clockTime, configValue, isoMicros, readConfigReaders } from '@bailiff/insight';
import { type ConfigKey, formatConfigKey } from '@bailiff/policy';
import { refusersOf } from '@bailiff/response';
import { readStored, valueIn } from '../../shared/config/change.ts';
import { readHistory } from '../../shared/config/history.ts';
import {
  type Ownership,
  ownerJson,
  ownerNote,
  ownerText,
  signedJson,
  signedNote,
  signerName,
} from '../../shared/config/owner.ts';
import { storedKeys, suggestedKey } from '../../shared/config/suggestions.ts';
import { builtIn, builtInKeys } from '../../shared/config-keys/keys.ts';
import { CliError } from '../../shared/errors.ts';
import type { Session } from '../../shared/session.ts';
import type { Column } from '../../shared/text/table.ts';

interface Listed {
  key: string;
  kind: string;
  revision: number | null;
  changedAtMicros: number | null;
  by: string;
  why: string;
  ownership: Ownership;
  signature: string;
  /** Why readers refuse the value; empty if they accept it. */
  refused: string;
  refusedHere: boolean;
}

const LIST_COLUMNS: readonly Column[] = [
  // Never shortened, because other commands take it as an argument.
  { title: 'KEY' },
  { title: 'REVISION', align: 'right' },
  { title: 'CHANGED (UTC)' },
  { title: 'OWNER', min: 8, cut: 'within', spare: true },
  { title: 'SIGNED AS', spare: true },
  { title: 'BY', min: 8, spare: true },
  { title: 'WHY', min: 10, spare: true },
];

async function readList(session: Session, signers: string): Promise<Listed[]> {
  const signed = signedConfigBy(signers);
  const bucket = openBucket(session.bus, 'bailiff_config');
  const [entries, readers] = await Promise.all([bucket.entries(), readConfigReaders(session)]);
  const stored = entries.map((entry): Listed => {
    const {
      key,
      revision,
      timestampMicros: changedAtMicros,
      by,
      why,
      json,
      signature,
      ...ownership
    } = storedConfig(entry);
    const kind = key.split('.')[0] ?? '';
    const { refused: reason, refusedHere = false } = configValue(entry, readers);
    const refused = reason || signed.problemOf({ key, json, signature });
    return { key, kind, revision, changedAtMicros, by, why, ownership, signature, refused, refusedHere };
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
      ownership: { owner: null, released: false },
      signature: '',
      refused: '',
      refusedHere: false,
    }));
  return [...stored, ...rest].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** @param signers file to verify signatures by; empty: they are not verified */
export async function list(session: Session, kind: string | undefined, signers: string, json: boolean): Promise<void> {
  const { out } = session;
  const rows = (await readList(session, signers)).filter((row) => kind === undefined || row.kind === kind);
  if (json)
    return out.json(
      rows.map(({ changedAtMicros, ownership, signature, ...row }) => ({
        ...row,
        signed: signedJson({ signature }),
        keptBy: row.revision === null ? null : ownerJson(ownership),
        changedAt: changedAtMicros === null ? null : isoMicros(changedAtMicros),
        builtIn: row.revision === null,
      })),
    );
  out.rows(LIST_COLUMNS, rows, (row, nowMs) => [
    row.key,
    row.revision === null ? { text: 'built in', style: 'dim' } : String(row.revision),
    row.changedAtMicros === null ? '' : clockTime(row.changedAtMicros, nowMs),
    row.revision === null ? '' : ownerText(row.ownership),
    signerName(row),
    row.by,
    row.refused === '' ? row.why : { text: `REFUSED ${row.refused}`, style: 'red' },
  ]);
  for (const row of rows)
    if (row.refused !== '')
      out.note(
        `${row.key} is refused by ${signers === '' || row.refusedHere ? refusersOf(row) : 'readers with these signers'}: ${row.refused}`,
      );
}

export async function get(session: Session, key: ConfigKey, revision: number | null, json: boolean): Promise<void> {
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
    return out.json(
      json
        ? {
            key: text,
            revision,
            changedAt: isoMicros(found.storedAtMicros),
            by: found.by,
            why: found.why,
            signed: signedJson(found),
            value: found.value,
          }
        : found.value,
    );
  }
  const stored = await readStored(session, key);
  const value = stored ? (valueIn(stored) ?? stored.json) : builtIn(key);
  if (value === undefined) {
    const suggestion = suggestedKey(key, await storedKeys(session));
    throw new CliError('CLI_NOT_FOUND', `${text} has neither a stored nor a built-in value`, {
      remedy: `${suggestion === null ? '' : `did you mean ${suggestion}?\n`}\`bailiff config list\` lists the keys`,
    });
  }
  if (json) {
    const changedAt = stored ? isoMicros(stored.timestampMicros) : null;
    return out.json({
      key: text,
      revision: stored?.revision ?? null,
      changedAt,
      by: stored?.by ?? '',
      why: stored?.why ?? '',
      signed: stored ? signedJson(stored) : null,
      keptBy: stored ? ownerJson(stored) : null,
      builtIn: !stored,
      value,
    });
  }
  const why = stored?.why ? `: ${stored.why}` : '';
  out.note(
    stored
      ? `revision ${stored.revision}, ${clockTime(stored.timestampMicros, io.nowMs())} by ${stored.by || 'an unknown author'}${why}${ownerNote(stored)}${signedNote(stored)}`
      : 'built in: no value is stored under this key',
  );
  out.json(value);
}
