/**
 * `config export`: writes the stored configuration as a directory of YAML files, one per key
 * (paths.ts). Equal configuration gives equal bytes.
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
import { plural } from '@bailiff/response';
import { keyOfPath, pathOfKey } from '../../../shared/config-tree/paths.ts';
import { filesBelow } from '../../../shared/config-tree/read.ts';
import type { Session } from '../../../shared/session.ts';
import { documentText, objectOf, withoutDefaults } from '../../../shared/text/yaml.ts';

export interface ExportOptions {
  /** Delete files of keys that are not exported, and other files of an exported key. */
  prune?: boolean;
  json?: boolean;
}

/**
 * Text of a value's file: a runtime policy as `policy apply` reads it, other values as `config set
 * -f` reads them.
 */
export function fileText(key: ConfigKey, json: string): string {
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
export async function exportTree(session: Session, directory: string, options: ExportOptions): Promise<void> {
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
  if (refused.length > 0) out.note(`omitted, because all readers refuse them: ${refused.join(', ')}`);
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
export function hasFile(text: string): boolean {
  try {
    return pathOfKey(parseConfigKey(text)) !== null;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}
