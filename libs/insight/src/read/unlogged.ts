/**
 * Compares the configuration in its bucket, which commands and nodes read, with CONFIG_LOG, from which
 * correlators and responders read it. The server copies by revisions: if the bucket was made again, or
 * restored alone, it skips changes until their revisions are higher than before, and reports no error.
 */
import { acrossElection, type Bus, BusError, changeOf, type KvEntry, ROOT, readToEnd } from '@bailiff/bus';
import type { Reader } from '../reader.ts';

/** The copy may be this late. */
const LOGGED_WITHIN_MS = 30_000;

interface Value {
  /** null: deleted. */
  json: string | null;
  storedMs: number;
}

/**
 * Keys of which CONFIG_LOG has another newest value than the bucket, sorted; null: it could not be read.
 * @param entries newest ones of all keys, with tombstones
 */
export async function readUnlogged(
  { bus, signal, note }: Pick<Reader, 'bus' | 'signal' | 'note'>,
  entries: readonly KvEntry[],
  nowMs: number,
): Promise<string[] | null> {
  try {
    return differing(entries, await acrossElection(bus, signal, () => readLogged(bus, signal)), nowMs);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    note(`cannot read CONFIG_LOG: ${error.message}`);
    return null;
  }
}

async function readLogged(bus: Bus, signal: AbortSignal): Promise<Map<string, Value>> {
  const logged = new Map<string, Value>();
  await readToEnd(bus, 'CONFIG_LOG', {
    start: 'last-per-subject',
    filterSubjects: [`${ROOT}.config.>`],
    silenceMs: bus.timeoutMs,
    onMessage: (message) => {
      const change = message.injected ? null : changeOf(message);
      if (change) logged.set(change.key, { json: change.json, storedMs: message.timestampMicros / 1000 });
    },
    signal,
  });
  return logged;
}

function differing(entries: readonly KvEntry[], logged: ReadonlyMap<string, Value>, nowMs: number): string[] {
  const stored = new Map(
    entries.map(({ key, value, deleted, timestampMicros }): [string, Value] => [
      key,
      { json: deleted ? null : value.toString('utf8'), storedMs: timestampMicros / 1000 },
    ]),
  );
  const isLate = (value: Value | undefined) => value === undefined || nowMs - value.storedMs > LOGGED_WITHIN_MS;
  return [...new Set([...stored.keys(), ...logged.keys()])]
    .filter((key) => {
      const [there, copy] = [stored.get(key), logged.get(key)];
      return isLate(there) && isLate(copy) && (there?.json ?? null) !== (copy?.json ?? null);
    })
    .sort();
}
