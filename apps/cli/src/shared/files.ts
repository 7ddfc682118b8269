/** Files, folders of files and stdin as arguments, and new files. Bounds: MAX_FILES of MAX_FILE_BYTES. */
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import { CliError } from './errors.ts';
import { type CliIo, MAX_STDIN_BYTES } from './io.ts';

/** A folder with more files is probably not the one that was meant. */
const MAX_FILES = 1_000;
const MAX_FILE_BYTES = MAX_STDIN_BYTES;
const ENDINGS = ['.yaml', '.yml', '.json'];

/**
 * The file itself, or the YAML and JSON files of a folder by name.
 * @param what they contain, for messages: `policy`
 * @throws CliError CLI_USAGE; ENOENT, EACCES
 */
export async function filesOf(argument: string, what: string): Promise<string[]> {
  if (argument === '-') return ['-'];
  if (!(await stat(argument)).isDirectory()) return [argument];
  const entries = await readdir(argument, { withFileTypes: true });
  const names = entries.filter((entry) => !entry.isDirectory() && ENDINGS.includes(path.extname(entry.name)));
  if (names.length === 0) {
    throw new CliError('CLI_USAGE', `${argument} contains no ${what} file`, {
      remedy: `${what} files end in ${ENDINGS.join(', ')}`,
    });
  }
  if (names.length > MAX_FILES) throw new CliError('CLI_USAGE', `${argument} contains more than ${MAX_FILES} files`);
  return names.map(({ name }) => path.join(argument, name)).sort();
}

/** @throws CliError CLI_CONFIG if it is too large; ENOENT, EACCES */
export async function textOf(file: string, io: Pick<CliIo, 'readStdin'>): Promise<string> {
  if (file === '-') return io.readStdin();
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) throw new CliError('CLI_CONFIG', `${file} exceeds ${MAX_FILE_BYTES} bytes`);
  return readFile(file, 'utf8');
}

/** Reads a file, or stdin for `-`, as JSON or YAML. @throws CliError CLI_CONFIG; ENOENT, EACCES */
export async function readDocument(file: string, io: Pick<CliIo, 'readStdin'>): Promise<unknown> {
  const text = file === '-' ? await io.readStdin() : await readFile(file, 'utf8');
  const where = file === '-' ? 'stdin' : file;
  if (text.trim() === '') throw new CliError('CLI_CONFIG', `${where} is empty`);
  try {
    return JSON.parse(text);
  } catch (asJson) {
    // YAML is a superset of JSON, but its messages about broken JSON are misleading.
    if (/^\s*[[{]/.test(text)) throw new CliError('CLI_CONFIG', `${where}: not JSON: ${(asJson as Error).message}`);
  }
  try {
    return parse(text);
  } catch (cause) {
    throw new CliError('CLI_CONFIG', `${where}: neither JSON nor YAML: ${(cause as Error).message}`, { cause });
  }
}

/** Creates a file, never over another one, and readable by its owner alone. @throws CliError CLI_USAGE if the file exists, or cannot be created */
export async function createFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what = code === 'EEXIST' ? `${path} exists` : `cannot create ${path}: ${message}`;
    throw new CliError('CLI_USAGE', what, { cause, remedy: 'name another file' });
  }
}
