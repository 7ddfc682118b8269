/** What a key was before: read from CONFIG_LOG, whose sequences are what verdicts name as their configuration. */
import { CONFIG_BUCKET, isReleased, openBucket, ownerIn, ROOT } from '@bailiff/bus';
import { type ConfigKey, formatConfigKey, type ResourceOwner } from '@bailiff/policy';
import { readStream } from '../bus/read-stream.ts';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { diffValues } from '../text/diff.ts';

export interface Revision {
  /** In CONFIG_LOG. */
  sequence: number;
  storedAtMicros: number;
  /** The `revision` of the value; of a deletion, that of what it deleted. */
  revision: number;
  /** Undefined: it was deleted. */
  value: unknown;
  /** As it is stored; empty when it was deleted. */
  text: string;
  by: string;
  why: string;
  owner: ResourceOwner | null;
  released: boolean;
}

/** The log follows the bucket; this long at most it is waited for. */
const LOG_WAIT_MS = 3_000;
const LOG_POLL_MS = 50;

/** All that the log keeps of a key, oldest first, the newest value of the bucket among it. */
export async function readHistory(session: Session, key: ConfigKey): Promise<Revision[]> {
  const { bus, out, io } = session;
  const text = formatConfigKey(key);
  const newest = await openBucket(bus, CONFIG_BUCKET).newest(text);
  for (const endMs = io.nowMs() + LOG_WAIT_MS; ; ) {
    const revisions = await readLog(session, text);
    const last = revisions.at(-1);
    const complete = !newest || (last !== undefined && last.text === newest.value.toString('utf8'));
    if (complete) return revisions;
    if (io.nowMs() >= endMs) {
      out.note(`CONFIG_LOG does not have the newest value of ${text} yet`);
      return revisions;
    }
    await new Promise((resolve) => setTimeout(resolve, LOG_POLL_MS));
  }
}

async function readLog({ bus, io }: Session, key: string): Promise<Revision[]> {
  const revisions: Revision[] = [];
  await readStream(bus, 'CONFIG_LOG', {
    sinceMs: 0,
    filterSubjects: [`${ROOT}.config.${key}`],
    onMessage: ({ sequence, timestampMicros, headers, data }) => {
      const header = (name: string) => headers?.get(name) ?? '';
      const deleted = header('KV-Operation') !== '';
      const text = Buffer.from(data).toString('utf8');
      const value = deleted ? undefined : parse(text);
      revisions.push({
        sequence,
        storedAtMicros: timestampMicros,
        revision: deleted ? Number(header('Bailiff-Revision')) || 0 : revisionOf(value),
        value,
        text,
        by: header('Bailiff-By'),
        why: header('Bailiff-Why'),
        owner: ownerIn(header),
        released: isReleased(header),
      });
    },
    signal: io.signal,
  });
  return revisions;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Written around us; it is shown as the text it is.
    return text;
  }
}

function revisionOf(value: unknown): number {
  const revision = (value as { revision?: unknown } | null)?.revision;
  return typeof revision === 'number' ? revision : 0;
}

/** `+3 -1`: lines put in and taken out against the revision before. Pure. */
export function changeOf(before: Revision | undefined, after: Revision): string {
  if (after.value === undefined) return 'deleted';
  if (before?.value === undefined) return 'created';
  const lines = diffValues(before.value, after.value);
  const count = (sign: string) => lines.filter((line) => line?.sign === sign).length;
  return `+${count('+')} -${count('-')}`;
}

/**
 * What to go back to: the newest with this revision, or without one the newest that differs from what holds now. Pure.
 * @throws CliError CLI_NOT_FOUND
 */
export function rollbackTarget(history: readonly Revision[], to: number | null): Revision {
  const current = history.at(-1);
  if (!current) throw new CliError('CLI_NOT_FOUND', 'this key has no history: nothing was ever stored under it');
  const earlier = history.slice(0, -1);
  const target =
    to === null
      ? earlier.findLast((one) => diffValues(current.value, one.value).length > 0)
      : history.findLast((one) => one.revision === to && one.value !== undefined);
  if (target) return target;
  // The first value of a key has nothing before it but what is built in.
  if (to === null && current.value !== undefined) return { ...current, revision: 0, value: undefined, text: '' };
  const known = history.filter(({ value }) => value !== undefined).map(({ revision }) => revision);
  throw new CliError('CLI_NOT_FOUND', to === null ? 'nothing earlier differs from it' : `it has no revision ${to}`, {
    remedy: `known: ${known.slice(-12).join(', ')}`,
  });
}
