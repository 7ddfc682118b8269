/** `config export`: what is stored as a directory of YAML files, one a key (paths.ts). The same configuration gives the same bytes. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CONFIG_BUCKET, openBucket, type StoredConfig, storedConfig } from '@bailiff/bus';
import { ConfigError, type ConfigKey, parseConfigKey, parseConfigValue, type RuntimePolicy } from '@bailiff/policy';
import { refusalOf } from '../../shared/config-keys/keys.ts';
import type { Session } from '../../shared/session.ts';
import { plural } from '../../shared/text/plural.ts';
import { documentText, objectOf, withoutDefaults } from '../../shared/text/yaml.ts';
import { keyOfPath, pathOfKey } from './paths.ts';
import { filesBelow } from './read.ts';

interface ExportOptions {
  /** Files of keys that are stored no more are taken away. */
  prune?: boolean;
  json?: boolean;
}

/** What stands in the file of a stored value: a runtime policy as `policy apply` takes it, another value as `config set -f` does. */
export function fileText(key: ConfigKey, json: string): string {
  if (key.kind === 'runtime')
    return documentText(
      objectOf(key, withoutDefaults({ ...(parseConfigValue(key, json) as RuntimePolicy), revision: 0 })),
    );
  // Every write renews the revision: in a file it would only be in the way.
  const { revision: _renewed, ...value } = JSON.parse(json) as Record<string, unknown>;
  return documentText(value);
}

/** Files to be written, by path, and keys that have none because every reader refuses them. */
function filesOf(entries: readonly StoredConfig[]): { files: Map<string, string>; refused: string[] } {
  const files = new Map<string, string>();
  const refused: string[] = [];
  for (const { key: text, json } of entries) {
    if (refusalOf(text, json) !== '') refused.push(text);
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

/** @returns the exit code. @throws BusError; EACCES and the like */
export async function exportTree(session: Session, directory: string, options: ExportOptions): Promise<number> {
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
  const left = before.filter((relative) => !files.has(relative) && saysKey(relative));
  if (options.prune) for (const relative of left) await rm(path.join(directory, relative));
  if (options.json) {
    const unchanged = files.size - written.length;
    out.json({
      directory,
      written,
      unchanged,
      pruned: options.prune ? left : [],
      left: options.prune ? [] : left,
      refused,
    });
    return 0;
  }
  for (const relative of written) out.line(path.join(directory, relative));
  if (options.prune) for (const relative of left) out.line(`${path.join(directory, relative)} is taken away`);
  out.note(`${plural(files.size, 'key')}: ${written.length} written, ${files.size - written.length} as they were`);
  if (!options.prune && left.length > 0)
    out.note(
      `${plural(left.length, 'file is', 'files are')} of no stored key: ${left.join(', ')} (--prune takes them away)`,
    );
  if (refused.length > 0) out.note(`left out, because every reader refuses them: ${refused.join(', ')}`);
  return 0;
}

/** Whether a file is one of ours: no other is ever taken away. */
function saysKey(relative: string): boolean {
  try {
    return keyOfPath(relative) !== null;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

/** Keys that `config import --prune` may take away: those that would have a file. Pure. */
export function hasFile(text: string): boolean {
  try {
    return pathOfKey(parseConfigKey(text)) !== null;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}
