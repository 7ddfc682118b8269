/**
 * Changing a key: what is there is read, the difference shown, a person asked, and the value written on the condition that nobody changed it
 * in between. Who and why go into the log with it.
 */
import { deleteConfig, readConfig, type StoredConfig, writeConfig } from '@bailiff/bus';
import { ConfigError, type ConfigKey, formatConfigKey, parseConfigValue } from '@bailiff/policy';
import { confirm } from '../confirm.ts';
import type { Session } from '../session.ts';
import { type DiffLine, diffValues } from '../text/diff.ts';
import { builtIn } from './keys.ts';

export interface ChangeOptions {
  reason?: string;
  by?: string;
  yes?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

export interface Change {
  key: ConfigKey;
  stored: StoredConfig | null;
  /** Null: the key is deleted. */
  next: Record<string, unknown> | null;
  /** Why, when nothing else is said. */
  because: string;
}

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
function inEffect(key: ConfigKey, value: unknown): unknown {
  if (value === undefined) return undefined;
  try {
    return parseConfigValue(key, JSON.stringify(value));
  } catch (error) {
    if (error instanceof ConfigError) return value;
    throw error;
  }
}

/** The difference in effect as lines; empty when there is none. */
function diffText({ out }: Session, key: ConfigKey, before: unknown, after: unknown): string[] {
  const style = { ' ': 'dim', '-': 'red', '+': 'green' } as const;
  return diffValues(inEffect(key, before), inEffect(key, after)).map((line: DiffLine | null) =>
    line === null ? out.paint('  …', 'dim') : out.paint(`${line.sign} ${line.text}`, style[line.sign]),
  );
}

/** Shows, asks, writes. @returns the exit code. @throws ConfigError, CliError CLI_DECLINED, BusError */
export async function carryOut(session: Session, change: Change, options: ChangeOptions): Promise<number> {
  const { io, out, bus } = session;
  const { key, stored, next } = change;
  const text = formatConfigKey(key);
  if (next) {
    parseConfigValue(key, JSON.stringify(next));
    refuseOlder(text, next, stored);
  }
  const old = valueIn(stored);
  const same = next ? stored !== null && diffValues(old, next).length === 0 : stored === null;
  if (same) {
    out.note(`${text}: nothing to change`);
    return 0;
  }
  const lines = diffText(session, key, stored ? (old ?? stored.json) : builtIn(key), next ?? builtIn(key));
  const from = stored
    ? `revision ${stored.revision}${stored.by ? ` by ${stored.by}` : ''}`
    : builtIn(key) === undefined
      ? 'nothing'
      : 'the built-in value';
  out.note(`${text}: ${next ? `against ${from}` : `deleting ${from}; what is built in, or wider, holds again`}`);
  if (lines.length === 0) out.note('  nothing changes in effect');
  for (const line of lines) out.note(line);
  if (options.dryRun) {
    out.note('nothing was written (--dry-run)');
    return 0;
  }
  await confirm(io, next ? 'Write it?' : 'Delete it?', options.yes);
  const write = {
    by: options.by ?? io.operator,
    why: options.reason ?? change.because,
    expectedRevision: stored?.bucketRevision ?? 0,
  };
  if (next) {
    const written = await writeConfig(bus, key, next, write);
    if (options.json) out.json({ key: text, revision: written.revision, value: JSON.parse(written.json) });
    else out.line(`${text} is at revision ${written.revision}`);
  } else {
    await deleteConfig(bus, key, write);
    if (options.json) out.json({ key: text, deleted: true });
    else out.line(`${text} is deleted`);
  }
  return 0;
}

export const readStored = (session: Session, key: ConfigKey) => readConfig(session.bus, key);
