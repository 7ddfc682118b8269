/**
 * Reads and checks a directory of configuration files. All errors are reported together as
 * `file:line: field: message`, before anything is returned. Bounds: MAX_FILES files of
 * MAX_FILE_BYTES.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { ConfigError, type ConfigKey, contradictionsOf, formatConfigKey, schemaFor } from '@bailiff/policy';
import {
  loadPolicyFile,
  type Place,
  PolicyError,
  placesIn,
  plainValue,
  refusePlace,
  zodIssues,
} from '@bailiff/runtime';
import { CliError } from '../errors.ts';
import { MAX_STDIN_BYTES } from '../io.ts';
import type { FilePolicy } from '../policy/files.ts';
import { isValueFile, keyOfPath, LAYOUT } from './paths.ts';

const MAX_FILES = 4_096;
/** Folders and file of the longest path, and some for folders that name no key. */
const MAX_DEPTH = 8;
const MAX_FILE_BYTES = MAX_STDIN_BYTES;

export interface FileValue {
  key: ConfigKey;
  file: string;
  value: Record<string, unknown>;
}

/** Contents of a directory. */
export interface Tree {
  /** All values except runtime policies. */
  values: FileValue[];
  policies: FilePolicy[];
}

/**
 * Relative paths of configuration files, sorted. Names that start with a dot are ignored, and so are
 * links to folders unless `followLinks` is set. @throws
 * CliError CLI_USAGE; ENOENT
 */
export async function filesBelow(directory: string, { followLinks = false } = {}): Promise<string[]> {
  const found: string[] = [];
  const walk = async (within: string): Promise<void> => {
    for (const entry of await readdir(path.join(directory, within), { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const relative = within === '' ? entry.name : `${within}/${entry.name}`;
      // A link to a parent would never end.
      if (relative.split('/').length > MAX_DEPTH)
        throw new CliError('CLI_USAGE', `${directory}/${relative} is below more folders than the layout has`);
      const isFolder =
        followLinks && entry.isSymbolicLink()
          ? (await stat(path.join(directory, relative))).isDirectory()
          : entry.isDirectory();
      if (isFolder) await walk(relative);
      else if (isValueFile(entry.name)) found.push(relative);
      if (found.length > MAX_FILES)
        throw new CliError('CLI_USAGE', `${directory} contains more than ${MAX_FILES} files`);
    }
  };
  await walk('');
  return found.sort();
}

function requireKey(relative: string): ConfigKey {
  const key = keyOfPath(relative);
  if (key) return key;
  throw new ConfigError('CONFIG_KEY', `its path names no key; the layout is ${LAYOUT}`);
}

/** The single document of a file. @throws PolicyError POLICY_FILE with its location */
function valueIn(text: string, key: ConfigKey, file: string): Record<string, unknown> {
  const [place, second] = placesIn(text, file) as [Place, Place?];
  if (second) throw new PolicyError('POLICY_FILE', `${file}: contains more than one document; one file is one key`);
  const value = plainValue(place);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refusePlace(place, [{ path: [], message: 'a value must be an object of fields' }]);
  const parsed = schemaFor(key).safeParse(value);
  if (!parsed.success) return refusePlace(place, zodIssues(parsed.error));
  const contradictions = contradictionsOf(key, parsed.data, Date.now());
  if (contradictions.length > 0) return refusePlace(place, contradictions);
  return value as Record<string, unknown>;
}

function policyIn(text: string, key: ConfigKey, file: string): FilePolicy {
  const [policy, second] = loadPolicyFile(text, file);
  if (!policy || second)
    throw new PolicyError('POLICY_FILE', `${file}: contains more than one policy; one file is one key`);
  const wanted = formatConfigKey(key);
  if (policy.key !== wanted)
    throw new PolicyError('POLICY_FILE', `${file}: contains ${policy.key}, but its path names ${wanted}`);
  return { ...policy, file };
}

async function textOf(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) throw new PolicyError('POLICY_FILE', `${file}: exceeds ${MAX_FILE_BYTES} bytes`);
  return readFile(file, 'utf8');
}

/** @throws CliError CLI_CONFIG with all errors; CLI_USAGE; ENOENT, EACCES */
export async function readTree(directory: string): Promise<Tree> {
  const tree: Tree = { values: [], policies: [] };
  const owners = new Map<string, string>();
  const errors: string[] = [];
  // In a volume of a ConfigMap, folders are links.
  for (const relative of await filesBelow(directory, { followLinks: true })) {
    const file = path.join(directory, relative);
    try {
      const key = requireKey(relative);
      const text = formatConfigKey(key);
      const other = owners.get(text);
      if (other !== undefined) throw new PolicyError('POLICY_FILE', `${file}: ${text} is also in ${other}`);
      owners.set(text, file);
      if (key.kind === 'runtime') tree.policies.push(policyIn(await textOf(file), key, file));
      else tree.values.push({ key, file, value: valueIn(await textOf(file), key, file) });
    } catch (error) {
      if (error instanceof PolicyError) errors.push(...error.message.split('\n'));
      else if (error instanceof ConfigError) errors.push(`${file}: ${error.message}`);
      else throw error;
    }
  }
  if (errors.length === 0) return tree;
  const count = errors.length === 1 ? '1 error' : `${errors.length} errors`;
  throw new CliError('CLI_CONFIG', `refused with ${count}; nothing was written\n${errors.join('\n')}`);
}
