/**
 * Reads and checks a directory of the configuration. Everything is read and checked before anything is returned, and all mistakes are told,
 * each as `file:line: field: what is wrong`. Bounds: MAX_FILES files of MAX_FILE_BYTES each, MAX_DEPTH folders deep.
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
import type { FilePolicy } from '../../policy/files.ts';
import { CliError } from '../../shared/errors.ts';
import { MAX_STDIN_BYTES } from '../../shared/io.ts';
import { isValueFile, keyOfPath, LAYOUT } from './paths.ts';

const MAX_FILES = 4_096;
const MAX_FILE_BYTES = MAX_STDIN_BYTES;
/** Deepest: spoof/workloads/<namespace>/<owner>.yaml */
const MAX_DEPTH = 4;

export interface FileValue {
  key: ConfigKey;
  file: string;
  value: Record<string, unknown>;
}

/** What a directory says. */
export interface Tree {
  /** All but runtime policies. */
  values: FileValue[];
  policies: FilePolicy[];
}

/** Files of the configuration below a directory, relative with `/`, in order. Names that begin with a dot are left alone. @throws CliError CLI_USAGE; ENOENT */
export async function filesBelow(directory: string): Promise<string[]> {
  const found: string[] = [];
  const walk = async (within: string, depth: number): Promise<void> => {
    for (const entry of await readdir(path.join(directory, within), { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const relative = within === '' ? entry.name : `${within}/${entry.name}`;
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH) await walk(relative, depth + 1);
      } else if (isValueFile(entry.name)) found.push(relative);
      if (found.length > MAX_FILES) throw new CliError('CLI_USAGE', `${directory} holds more than ${MAX_FILES} files`);
    }
  };
  await walk('', 1);
  return found.sort();
}

function keyOrMistake(relative: string): ConfigKey {
  const key = keyOfPath(relative);
  if (key) return key;
  throw new ConfigError('CONFIG_KEY', `its place says no key; the layout is ${LAYOUT}`);
}

/** One document, or a mistake at its place. @throws PolicyError POLICY_FILE */
function valueIn(text: string, key: ConfigKey, file: string): Record<string, unknown> {
  const [place, second] = placesIn(text, file) as [Place, Place?];
  if (second) throw new PolicyError('POLICY_FILE', `${file}: holds more than one document: a file is one key`);
  const value = plainValue(place);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refusePlace(place, [{ path: [], message: 'a configuration is an object of fields' }]);
  const parsed = schemaFor(key).safeParse(value);
  if (!parsed.success) return refusePlace(place, zodIssues(parsed.error));
  const contradictions = contradictionsOf(key, parsed.data, Date.now());
  if (contradictions.length > 0) return refusePlace(place, contradictions);
  return value as Record<string, unknown>;
}

function policyIn(text: string, key: ConfigKey, file: string): FilePolicy {
  const [policy, second] = loadPolicyFile(text, file);
  if (!policy || second) throw new PolicyError('POLICY_FILE', `${file}: holds more than one policy: a file is one key`);
  const wanted = formatConfigKey(key);
  if (policy.key !== wanted)
    throw new PolicyError('POLICY_FILE', `${file}: is of ${policy.key}, and its place says ${wanted}`);
  return { ...policy, file };
}

async function textOf(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) throw new PolicyError('POLICY_FILE', `${file}: is above ${MAX_FILE_BYTES} bytes`);
  return readFile(file, 'utf8');
}

/** @throws CliError CLI_CONFIG with every mistake; CLI_USAGE; ENOENT, EACCES */
export async function readTree(directory: string): Promise<Tree> {
  const tree: Tree = { values: [], policies: [] };
  const owners = new Map<string, string>();
  const mistakes: string[] = [];
  for (const relative of await filesBelow(directory)) {
    const file = path.join(directory, relative);
    try {
      const key = keyOrMistake(relative);
      const text = formatConfigKey(key);
      const other = owners.get(text);
      if (other !== undefined) throw new PolicyError('POLICY_FILE', `${file}: ${text} stands in ${other} too`);
      owners.set(text, file);
      if (key.kind === 'runtime') tree.policies.push(policyIn(await textOf(file), key, file));
      else tree.values.push({ key, file, value: valueIn(await textOf(file), key, file) });
    } catch (error) {
      if (error instanceof PolicyError) mistakes.push(...error.message.split('\n'));
      else if (error instanceof ConfigError) mistakes.push(`${file}: ${error.message}`);
      else throw error;
    }
  }
  if (mistakes.length === 0) return tree;
  const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
  throw new CliError('CLI_CONFIG', `refused for ${count}; nothing was written\n${mistakes.join('\n')}`);
}
