/**
 * `bailiff config export` and `import`: the stored configuration as a directory of YAML files, one per key
 * (config-tree/paths.ts). Equal configuration gives equal bytes.
 *
 * An import checks all files first, runtime policies also in combination. Its writes are conditional and
 * all-or-nothing (shared/config/change.ts). Keys without a file stay unless --prune is given.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CONFIG_BUCKET, openBucket, type StoredConfig, storedConfig } from '@bailiff/bus';
import {
  ConfigError,
  type ConfigKey,
  configRefusal,
  formatConfigKey,
  parseConfigKey,
  parseConfigValue,
  type RuntimePolicy,
} from '@bailiff/policy';
import { plural, shortList } from '@bailiff/response';
import type { Command } from 'commander';
import {
  type Change,
  type ChangeOptions,
  isUnchanged,
  perform,
  withChangeOptions,
} from '../../shared/config/change.ts';
import { keyOfPath, pathOfKey } from '../../shared/config-tree/paths.ts';
import { filesBelow, readTree, type Tree } from '../../shared/config-tree/read.ts';
import type { CliIo } from '../../shared/io.ts';
import { differenceJson, prepare } from '../../shared/policy/prepare.ts';
import { onBus, type Session } from '../../shared/session.ts';
import { documentText, objectOf, withoutDefaults, yamlLines } from '../../shared/text/yaml.ts';

/** Refused keys that are named: a thief can store tens of thousands, of 4 kB each. JSON names all. */
const MAX_REFUSED = 16;

export interface ExportOptions {
  /** Delete files of keys that are not exported, and other files of an exported key. */
  prune?: boolean;
  json?: boolean;
}

/**
 * Text of a value's file: a runtime policy as `policy apply` reads it, other values as `config set
 * -f` reads them.
 */
function fileText(key: ConfigKey, json: string): string {
  if (key.kind === 'runtime')
    return documentText(
      objectOf(key, withoutDefaults({ ...(parseConfigValue(key, json) as RuntimePolicy), revision: 0 })),
    );
  // Every write changes the revision; a file must not fix it.
  const { revision: _renewed, ...value } = JSON.parse(json) as Record<string, unknown>;
  return documentText(value);
}

/** Files by path, and refused keys, which get no file. */
function filesOf(entries: readonly StoredConfig[]): { files: Map<string, string>; refused: string[] } {
  const files = new Map<string, string>();
  const refused: string[] = [];
  for (const { key: text, json } of entries) {
    if (configRefusal(text, json) !== '') refused.push(text);
    else {
      const key = parseConfigKey(text);
      const file = pathOfKey(key);
      if (file !== null) files.set(file, fileText(key, json));
    }
  }
  return { files, refused };
}

async function currentText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** @throws BusError; EACCES and other file system errors */
async function exportTree(session: Session, directory: string, options: ExportOptions): Promise<void> {
  const { out, bus } = session;
  const { files, refused } = filesOf((await openBucket(bus, CONFIG_BUCKET).entries()).map(storedConfig));
  await mkdir(directory, { recursive: true });
  const before = await filesBelow(directory);
  const written: string[] = [];
  for (const [relative, text] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const file = path.join(directory, relative);
    if ((await currentText(file)) === text) continue;
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
    written.push(relative);
  }
  // The file of a refused key stays: without it, `import --prune` would delete the key.
  const isOrphan = (key: string | null) => key !== null && !refused.includes(key);
  const orphans = before.filter((relative) => !files.has(relative) && isOrphan(keyTextOf(relative)));
  if (options.prune) for (const relative of orphans) await rm(path.join(directory, relative));
  if (options.json) {
    const unchanged = files.size - written.length;
    return out.json({
      directory,
      written,
      unchanged,
      pruned: options.prune ? orphans : [],
      left: options.prune ? [] : orphans,
      refused,
    });
  }
  for (const relative of written) out.line(path.join(directory, relative));
  if (options.prune) for (const relative of orphans) out.line(`${path.join(directory, relative)} deleted`);
  out.note(`${plural(files.size, 'key')}: ${written.length} written, ${files.size - written.length} unchanged`);
  if (!options.prune && orphans.length > 0)
    out.note(
      `${plural(orphans.length, 'file')} of other keys, or with another ending: ${orphans.join(', ')} (--prune deletes them)`,
    );
  if (refused.length > 0)
    out.note(`omitted, because readers of this version refuse them: ${shortList(refused, MAX_REFUSED)}`);
}

/** The key of a path; null if it names none. Such files are never deleted. */
function keyTextOf(relative: string): string | null {
  try {
    const key = keyOfPath(relative);
    return key && formatConfigKey(key);
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** Whether a key has a file, so that `config import --prune` may delete it. Pure. */
function hasFile(text: string): boolean {
  try {
    return pathOfKey(parseConfigKey(text)) !== null;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

interface ImportOptions extends ChangeOptions {
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
async function importTree(session: Session, directory: string, options: ImportOptions): Promise<void> {
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

const LAYOUT = `
Layout, one file per key:
  spoof/cluster.yaml   spoof/namespaces/<namespace>.yaml   spoof/workloads/<namespace>/<owner>.yaml
  correlation/<rule>.yaml   response/<policy>.yaml
  runtime/<policy>.yaml   runtime/<namespace>/<policy>.yaml        as for \`policy apply\`
Disarms have no file. Other files, and names that start with a dot, are ignored.
`;

export function registerTree(parent: Command, io: CliIo): void {
  const write = parent
    .command('export')
    .description('write the stored configuration as a directory of YAML files, one per key')
    .argument('<directory>', 'created if it does not exist')
    .option('--prune', 'delete files of keys that are no longer stored')
    .option('--json', 'one JSON document')
    .addHelpText('after', `${LAYOUT}\nExample:\n  bailiff config export cluster-1/ && git -C cluster-1 diff\n`);
  onBus(write, io, (options: ExportOptions, directory: string) => {
    return (session) => exportTree(session, directory, options);
  });
  const read = withChangeOptions(
    parent
      .command('import')
      .description('write the files of a directory: checks all, shows the difference, writes all or nothing')
      .argument('<directory>', 'a directory that export wrote')
      .option('--prune', 'delete stored keys that have no file'),
  ).addHelpText(
    'after',
    `${LAYOUT}
Examples:
  bailiff config import cluster-1/ --dry-run
  bailiff config import cluster-1/ --reason "release 12" --yes

Exit codes: 0 written, or nothing to change; 6 refused with file:line: field: reason, nothing was written.
`,
  );
  onBus(read, io, (options: ImportOptions, directory: string) => {
    return (session) => importTree(session, directory, options);
  });
}
