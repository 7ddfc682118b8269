/** A JSON or YAML document from a file or stdin. */
import { readFile } from 'node:fs/promises';
import { CliError } from './errors.ts';
import type { CliIo } from './io.ts';

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
  const { parse } = await import('yaml');
  try {
    return parse(text);
  } catch (cause) {
    throw new CliError('CLI_CONFIG', `${where}: neither JSON nor YAML: ${(cause as Error).message}`, { cause });
  }
}
