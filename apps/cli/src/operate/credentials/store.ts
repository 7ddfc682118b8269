/**
 * The credentials directory: credentials.json and the rendered files. Directory mode 0700, files
 * 0600. Files are replaced atomically, credentials.json first; after an interruption, `bailiff
 * credentials render` completes them.
 */
import { chmod, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { replaceFile } from '@bailiff/service';
import { CliError } from '../../shared/errors.ts';
import { files } from './render.ts';
import { type Credentials, credentialsSchema } from './rotation.ts';

export const STATE_FILE = 'credentials.json';

/** @throws CliError CLI_NOT_FOUND | CLI_CONFIG */
export async function load(dir: string): Promise<Credentials> {
  const file = path.join(dir, STATE_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new CliError('CLI_NOT_FOUND', `${file} does not exist`, {
      cause,
      remedy: [
        'pass the credentials directory with --out',
        'with Helm, take the file from the cluster: docs/install.md#credentials-on-your-machine',
        'bailiff credentials init is for a new bus only',
      ].join('\n'),
    });
  }
  return parseState(text, file);
}

/** @param file where the text is from. @throws CliError CLI_CONFIG */
export function parseState(text: string, file: string): Credentials {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CliError('CLI_CONFIG', `${file}: not JSON`, { cause, remedy: 'restore it from a backup' });
  }
  const parsed = credentialsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CliError('CLI_CONFIG', `${file}: ${issue?.path.join('.')}: ${issue?.message}`, {
    remedy: 'restore it from a backup, or use the bailiff command that wrote it',
  });
}

/** @throws CliError CLI_STATE if the directory already has credentials */
export async function refuseExisting(dir: string): Promise<void> {
  const there = await load(dir).then(
    () => true,
    (error) => !(error instanceof CliError && error.code === 'CLI_NOT_FOUND'),
  );
  if (!there) return;
  throw new CliError('CLI_STATE', `${path.join(dir, STATE_FILE)} already exists`, {
    remedy: 'rotate the secrets of a running bus with bailiff credentials rotate; use another --out for another bus',
  });
}

/** Writes all files. */
export async function save(dir: string, credentials: Credentials): Promise<string[]> {
  const rendered = files(credentials, path.resolve(dir));
  const all = { [STATE_FILE]: `${JSON.stringify(credentials, null, 2)}\n`, ...rendered };
  await mkdir(path.join(dir, 'users'), { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  for (const [name, text] of Object.entries(all)) replaceFile(path.join(dir, name), text, { durable: true });
  return Object.keys(all).map((name) => path.join(dir, name));
}
