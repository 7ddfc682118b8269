/** Changes of the configuration, as a view of the console: what `bailiff config history` prints, with the lines. */
import { CONFIG_BUCKET, changeOf as configChange, openBucket, ROOT, readNewest } from '@bailiff/bus';
import type { ChangeView, HistoryView, MaySee } from '@bailiff/console';
import { clockTime, type Reader } from '@bailiff/insight';
import { ConfigError, formatConfigKey, parseConfigKey } from '@bailiff/policy';
import { changeOf, type Revision, revisionIn } from '../shared/config/history.ts';
import { ownerText, signerName } from '../shared/config/owner.ts';
import { builtIn, namespaceOfKey, parseKey } from '../shared/config-keys/keys.ts';

import { diffValues } from '../shared/text/diff.ts';

/** The newest changes are shown. */
const MAX_CHANGES = 200;
/** Lines of one change. */
const MAX_LINES = 120;

interface Change {
  key: string;
  before: Revision | undefined;
  after: Revision;
}

/** @param key null = all keys @throws ConfigError for a key that no component reads */
export async function readHistoryView(
  { bus, nowMs: clock, signal }: Reader,
  { key, sinceMs, since, maySee }: { key: string | null; sinceMs: number; since: string; maySee: MaySee },
): Promise<HistoryView> {
  const only = key === null ? null : formatConfigKey(parseKey(key));
  const newest = new Map<string, Revision>();
  let changes: Change[] = [];
  let omitted = 0;
  const notes: string[] = [];
  // From the beginning: a change is compared with the value before it.
  const { cut } = await readNewest(bus, 'CONFIG_LOG', {
    sinceMs: 0,
    ...(only === null ? {} : { filterSubjects: [`${ROOT}.config.${only}`] }),
    onMessage: (message) => {
      const name = configChange(message)?.key;
      if (name === undefined || !maySee(namespaceOfKey(name))) return;
      const after = revisionIn(message);
      const before = newest.get(name);
      newest.set(name, after);
      if (after.storedAtMicros / 1000 < sinceMs) return;
      changes.push({ key: name, before, after });
      if (changes.length < 2 * MAX_CHANGES) return;
      omitted += changes.length - MAX_CHANGES;
      changes = changes.slice(-MAX_CHANGES);
    },
    signal,
  });
  if (cut) notes.push('Only the newest changes were read: there are too many.');
  omitted += Math.max(0, changes.length - MAX_CHANGES);
  if (only !== null && !maySee(namespaceOfKey(only))) {
    notes.push(`${only}: you may see changes in your own namespaces only.`);
  } else if (only !== null && newest.size === 0 && (await openBucket(bus, CONFIG_BUCKET).newest(only)) === null) {
    notes.push(`${only}: no value was ever stored; the built-in one is in force, if there is one.`);
  }
  const nowMs = clock();
  return {
    changes: changes
      .slice(-MAX_CHANGES)
      .reverse()
      .map((change) => changeView(change, nowMs)),
    omitted,
    command: only === null ? 'bailiff config history <key>' : `bailiff config history ${only}`,
    notes: [...notes, ...(since === 'all' ? [] : [`Changes since ${since}.`])],
  };
}

/** A complete value that is in force without a stored one. A spoof policy has defaults for single fields. */
function completeBuiltIn(key: string): unknown {
  try {
    const parsed = parseConfigKey(key);
    return parsed.kind === 'spoof' ? undefined : builtIn(parsed);
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

function changeView({ key, before, after }: Change, nowMs: number): ChangeView {
  const otherwise = completeBuiltIn(key);
  const lines = diffValues(before?.value ?? otherwise, after.value ?? otherwise);
  return {
    sequence: after.sequence,
    at: clockTime(after.storedAtMicros, nowMs),
    atMs: after.storedAtMicros / 1000,
    key,
    revision: after.value === undefined ? '-' : String(after.revision),
    lines: changeOf(before, after),
    isOverBuiltIn: otherwise !== undefined && (before?.value === undefined || after.value === undefined),
    owner: ownerText(after),
    signedAs: signerName(after),
    by: after.by,
    why: after.why,
    diff: lines.slice(0, MAX_LINES).map((line) => line ?? { sign: '…' as const, text: '' }),
    diffOmitted: Math.max(0, lines.length - MAX_LINES),
  };
}
