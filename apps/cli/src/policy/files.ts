/**
 * Policies as they are given: files, folders of files, stdin. Everything is read and checked before anything is returned, so that a mistake
 * in the last file keeps the first from being written; all mistakes are told, not only the first.
 *
 * Bounds: MAX_FILES files of MAX_FILE_BYTES each.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { loadPolicyFile, type NamedPolicy, PolicyError } from '@bailiff/runtime';
import { CliError } from '../shared/errors.ts';
import { type CliIo, MAX_STDIN_BYTES } from '../shared/io.ts';

/** A folder with more is not one of policies. */
const MAX_FILES = 1_000;
const MAX_FILE_BYTES = MAX_STDIN_BYTES;
const ENDINGS = ['.yaml', '.yml', '.json'];

/** A policy with where it stands. */
export interface FilePolicy extends NamedPolicy {
  file: string;
}

/** Files that an argument means: itself, or those of a folder, in the order of their names. @throws CliError CLI_USAGE; ENOENT, EACCES */
async function filesOf(argument: string): Promise<string[]> {
  if (argument === '-') return ['-'];
  if (!(await stat(argument)).isDirectory()) return [argument];
  const entries = await readdir(argument, { withFileTypes: true });
  const names = entries.filter((entry) => !entry.isDirectory() && ENDINGS.includes(path.extname(entry.name)));
  if (names.length === 0) {
    throw new CliError('CLI_USAGE', `${argument} holds no policy file`, {
      remedy: `they end in ${ENDINGS.join(', ')}`,
    });
  }
  if (names.length > MAX_FILES) throw new CliError('CLI_USAGE', `${argument} holds more than ${MAX_FILES} files`);
  return names.map(({ name }) => path.join(argument, name)).sort();
}

async function textOf(file: string, io: Pick<CliIo, 'readStdin'>): Promise<string> {
  if (file === '-') return io.readStdin();
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) throw new CliError('CLI_CONFIG', `${file} is above ${MAX_FILE_BYTES} bytes`);
  return readFile(file, 'utf8');
}

/** @throws CliError CLI_CONFIG with every mistake as `file:line: field: what`; CLI_USAGE; ENOENT, EACCES */
export async function readPolicies(given: readonly string[], io: Pick<CliIo, 'readStdin'>): Promise<FilePolicy[]> {
  const files = [...new Set((await Promise.all(given.map(filesOf))).flat())];
  const found = new Map<string, FilePolicy>();
  const mistakes: string[] = [];
  for (const file of files) {
    const shown = file === '-' ? 'stdin' : file;
    try {
      for (const policy of loadPolicyFile(await textOf(file, io), shown)) {
        const other = found.get(policy.key);
        if (other) mistakes.push(`${shown}: ${policy.key} stands in ${other.file} too`);
        else found.set(policy.key, { ...policy, file: shown });
      }
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      mistakes.push(...error.message.split('\n'));
    }
  }
  if (mistakes.length === 0) return [...found.values()];
  const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
  throw new CliError('CLI_CONFIG', `refused for ${count}; nothing was written\n${mistakes.join('\n')}`);
}
