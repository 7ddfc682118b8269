/**
 * Reads policies from files, folders and stdin. All are read and checked before any is returned,
 * and all errors are reported together, so an error in the last file prevents all writes.
 *
 * Bounds: MAX_FILES files of MAX_FILE_BYTES.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { loadPolicyFile, type NamedPolicy, PolicyError } from '@bailiff/runtime';
import { CliError } from '../shared/errors.ts';
import { type CliIo, MAX_STDIN_BYTES } from '../shared/io.ts';

/** A folder with more files is probably not a policy folder. */
const MAX_FILES = 1_000;
const MAX_FILE_BYTES = MAX_STDIN_BYTES;
const ENDINGS = ['.yaml', '.yml', '.json'];

/** A policy and its file. */
export interface FilePolicy extends NamedPolicy {
  file: string;
}

/**
 * The file itself, or the policy files of a folder by name. @throws CliError CLI_USAGE; ENOENT,
 * EACCES
 */
async function filesOf(argument: string): Promise<string[]> {
  if (argument === '-') return ['-'];
  if (!(await stat(argument)).isDirectory()) return [argument];
  const entries = await readdir(argument, { withFileTypes: true });
  const names = entries.filter((entry) => !entry.isDirectory() && ENDINGS.includes(path.extname(entry.name)));
  if (names.length === 0) {
    throw new CliError('CLI_USAGE', `${argument} contains no policy file`, {
      remedy: `policy files end in ${ENDINGS.join(', ')}`,
    });
  }
  if (names.length > MAX_FILES) throw new CliError('CLI_USAGE', `${argument} contains more than ${MAX_FILES} files`);
  return names.map(({ name }) => path.join(argument, name)).sort();
}

async function textOf(file: string, io: Pick<CliIo, 'readStdin'>): Promise<string> {
  if (file === '-') return io.readStdin();
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) throw new CliError('CLI_CONFIG', `${file} exceeds ${MAX_FILE_BYTES} bytes`);
  return readFile(file, 'utf8');
}

/**
 * @throws CliError CLI_CONFIG with all errors as `file:line: field: message`; CLI_USAGE; ENOENT,
 * EACCES
 */
export async function readPolicies(given: readonly string[], io: Pick<CliIo, 'readStdin'>): Promise<FilePolicy[]> {
  const files = [...new Set((await Promise.all(given.map(filesOf))).flat())];
  const found = new Map<string, FilePolicy>();
  const errors: string[] = [];
  for (const file of files) {
    const shown = file === '-' ? 'stdin' : file;
    try {
      for (const policy of loadPolicyFile(await textOf(file, io), shown)) {
        const other = found.get(policy.key);
        if (other) errors.push(`${shown}: ${policy.key} is also in ${other.file}`);
        else found.set(policy.key, { ...policy, file: shown });
      }
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      errors.push(...error.message.split('\n'));
    }
  }
  if (errors.length === 0) return [...found.values()];
  const count = errors.length === 1 ? '1 error' : `${errors.length} errors`;
  throw new CliError('CLI_CONFIG', `refused with ${count}; nothing was written\n${errors.join('\n')}`);
}
