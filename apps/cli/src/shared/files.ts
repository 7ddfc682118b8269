/** Files, folders of files and stdin as arguments. Bounds: MAX_FILES of MAX_FILE_BYTES. */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
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
