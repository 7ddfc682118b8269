/**
 * `config import`: compares a directory of files (paths.ts) with the stored configuration and
 * writes the differences. All files are checked first, runtime policies also in combination. Writes
 * are conditional and all-or-nothing (shared/config/change.ts). Keys without a file stay unless
 * --prune is given.
 */
import { CONFIG_BUCKET, openBucket, type StoredConfig, storedConfig } from '@bailiff/bus';
import { formatConfigKey, parseConfigKey } from '@bailiff/policy';
import { plural } from '@bailiff/response';
import { type Change, isUnchanged, perform } from '../../../shared/config/change.ts';
import type { ChangeOptions } from '../../../shared/config/change-options.ts';
import { readTree, type Tree } from '../../../shared/config-tree/read.ts';
import { differenceJson, prepare } from '../../../shared/policy/prepare.ts';
import type { Session } from '../../../shared/session.ts';
import { yamlLines } from '../../../shared/text/yaml.ts';
import { hasFile } from './export.ts';

export interface ImportOptions extends ChangeOptions {
  prune?: boolean;
}

const BECAUSE = 'bailiff config import';

/** The differences. Pure; `runtime` was read and prepared before. */
function changesOf(tree: Tree, runtime: readonly Change[], stored: readonly StoredConfig[], prune: boolean): Change[] {
  const byKey = new Map(stored.map((one) => [one.key, one]));
  const linesOf = yamlLines;
  const written = tree.values.map(({ key, value }): Change => {
    const { revision: _renewed, ...next } = value;
    return { key, stored: byKey.get(formatConfigKey(key)) ?? null, next, because: BECAUSE, linesOf };
  });
  const all = [...written, ...runtime];
  const named = new Set(all.map(({ key }) => formatConfigKey(key)));
  const orphans = prune ? stored.filter(({ key }) => hasFile(key) && !named.has(key)) : [];
  const removed = orphans.map(
    (one): Change => ({
      key: parseConfigKey(one.key),
      stored: one,
      next: null,
      because: `${BECAUSE} --prune`,
      linesOf,
    }),
  );
  return [...all, ...removed].sort((a, b) => (formatConfigKey(a.key) < formatConfigKey(b.key) ? -1 : 1));
}

/**
 * @throws CliError CLI_CONFIG | CLI_USAGE | CLI_DECLINED | CLI_STATE,
 * ConfigError, BusError
 */
export async function importTree(session: Session, directory: string, options: ImportOptions): Promise<void> {
  const { out, bus } = session;
  const tree = await readTree(directory);
  const [entries, runtime] = await Promise.all([
    openBucket(bus, CONFIG_BUCKET).entries(),
    tree.policies.length > 0 ? prepare(session, tree.policies, BECAUSE) : [],
  ]);
  const changes = changesOf(tree, runtime, entries.map(storedConfig), options.prune ?? false);
  const different = changes.filter((change) => !isUnchanged(change, options));
  const same = changes.length - different.length;
  out.note(`${plural(changes.length, 'key')} in ${directory}: ${different.length} to change, ${same} unchanged`);
  const outcomes = await perform(session, different, options);
  if (options.json)
    out.json(
      options.dryRun
        ? { dryRun: true, changes: different.map(differenceJson), unchanged: same }
        : { written: outcomes ?? [], unchanged: same },
    );
}
