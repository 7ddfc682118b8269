/**
 * Reads policies from files, folders and stdin. All are read and checked before any is returned,
 * and all errors are reported together, so an error in the last file prevents all writes.
 */
import { loadPolicyFile, type NamedPolicy, PolicyError } from '@bailiff/runtime';
import { CliError } from '../errors.ts';
import { filesOf, textOf } from '../files.ts';
import type { CliIo } from '../io.ts';

/** A policy and its file. */
export interface FilePolicy extends NamedPolicy {
  file: string;
}

/**
 * @throws CliError CLI_CONFIG with all errors as `file:line: field: message`; CLI_USAGE; ENOENT,
 * EACCES
 */
export async function readPolicyFiles(given: readonly string[], io: Pick<CliIo, 'readStdin'>): Promise<FilePolicy[]> {
  const files = [...new Set((await Promise.all(given.map((one) => filesOf(one, 'policy')))).flat())];
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
