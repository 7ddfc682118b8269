/**
 * The directory that holds the credentials: credentials.json, from which all else follows, and the rendered files. Mode 0700, files
 * 0600. Each file is replaced as a whole, credentials.json first: what was interrupted is rendered anew by `bailiff credentials render`.
 */
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { CliError } from '../shared/errors.ts';
import { files } from './render.ts';
import type { Credentials } from './rotation.ts';

export const STATE_FILE = 'credentials.json';

const generations = z.array(z.string().min(1)).min(1).max(2);
const authority = z.strictObject({ certificate: z.string(), key: z.string() });
const schema = z.strictObject({
  version: z.literal(1),
  createdAt: z.string(),
  inForceSince: z.string(),
  stage: z.enum(['in-force', 'prepared']),
  namespace: z.string(),
  replicas: z.number().int(),
  dnsNames: z.array(z.string()),
  users: z.record(z.string(), z.strictObject({ passwords: generations, hash: z.string() })),
  issuers: generations,
  xkeys: generations,
  routePassword: z.string(),
  redisPassword: z.string(),
  nextRoutePassword: z.string().optional(),
  nextRedisPassword: z.string().optional(),
  accounts: z.literal(true).optional(),
  authorities: z.array(authority).min(1).max(2),
  server: authority,
});

/** @throws CliError CLI_NOT_FOUND | CLI_CONFIG */
export async function load(dir: string): Promise<Credentials> {
  const file = path.join(dir, STATE_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new CliError('CLI_NOT_FOUND', `${file}: there are no credentials here`, {
      cause,
      remedy: 'name their directory with --out, or make them: bailiff credentials init',
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CliError('CLI_CONFIG', `${file}: is no JSON`, { cause, remedy: 'restore it from a backup' });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CliError('CLI_CONFIG', `${file}: ${issue?.path.join('.')}: ${issue?.message}`, {
    remedy: 'restore it from a backup, or use the bailiff command that wrote it',
  });
}

/** @throws CliError CLI_STATE when a directory has credentials already */
export async function refuseExisting(dir: string): Promise<void> {
  const there = await load(dir).then(
    () => true,
    (error) => !(error instanceof CliError && error.code === 'CLI_NOT_FOUND'),
  );
  if (!there) return;
  throw new CliError('CLI_STATE', `${path.join(dir, STATE_FILE)} is there already`, {
    remedy: 'bailiff credentials rotate gives new secrets to a bus that runs; another bus wants another --out',
  });
}

/** Writes all of it. */
export async function save(dir: string, credentials: Credentials): Promise<string[]> {
  const rendered = files(credentials, path.resolve(dir));
  const all = { [STATE_FILE]: `${JSON.stringify(credentials, null, 2)}\n`, ...rendered };
  await mkdir(path.join(dir, 'users'), { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  for (const [name, text] of Object.entries(all)) await replace(path.join(dir, name), text);
  return Object.keys(all).map((name) => path.join(dir, name));
}

/** Old or new, never half of it, and never readable by others. */
async function replace(file: string, text: string): Promise<void> {
  const next = `${file}.next`;
  const handle = await open(next, 'w', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, file);
}
