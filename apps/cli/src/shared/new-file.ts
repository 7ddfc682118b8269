/** Files that commands write: never over another file, and readable by their owner alone. */
import { type FileHandle, open } from 'node:fs/promises';
import { CliError } from './errors.ts';

/** @throws CliError CLI_USAGE if the file exists, or cannot be created */
export async function createFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what = code === 'EEXIST' ? `${path} exists` : `cannot create ${path}: ${message}`;
    throw new CliError('CLI_USAGE', what, { cause, remedy: 'name another file' });
  }
}
