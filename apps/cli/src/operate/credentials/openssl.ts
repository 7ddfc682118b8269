/**
 * Issues certificates with the openssl command (3.0 or later), because Node has no API for it.
 * Files are in a directory with mode 0700 that is removed afterwards.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { CliError } from '../../shared/errors.ts';
import type { Authority } from './rotation.ts';

const run = promisify(execFile);

/** The CA outlives the certificates it signs; each rotation renews the server certificate. */
export const CA_DAYS = 3_650;
export const SERVER_DAYS = 365;
/** openssl needs milliseconds; the limit is for a stuck machine. */
const TIMEOUT_MS = 30_000;

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** @throws CliError CLI_STATE if openssl is missing, too old or fails */
async function openssl(program: string, args: readonly string[]): Promise<void> {
  try {
    await run(program, args, { timeout: TIMEOUT_MS });
  } catch (cause) {
    const { code, stderr = '' } = cause as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') {
      throw new CliError('CLI_STATE', `${program} is not installed: it issues the certificates`, {
        cause,
        remedy: 'apt-get install openssl, or dnf install openssl; 3.0 or later',
      });
    }
    const why = stderr.trim().split('\n').slice(0, 3).join('\n');
    throw new CliError('CLI_STATE', `openssl issued no certificate:\n${why || (cause as Error).message}`, {
      cause,
      remedy: 'openssl 3.0 or later is needed; check: openssl version',
    });
  }
}

async function within<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(path.join(tmpdir(), 'bailiff-credentials-'));
  try {
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function readPair(dir: string): Promise<Authority> {
  const [certificate, key] = await Promise.all(
    ['new.crt', 'new.key'].map((name) => readFile(path.join(dir, name), 'utf8')),
  );
  return { certificate: certificate as string, key: key as string };
}

const request = (dir: string, subject: string, days: number, extensions: readonly string[]) => [
  'req',
  '-x509',
  ...NEW_KEY,
  '-days',
  String(days),
  '-subj',
  `/CN=${subject}`,
  ...extensions.flatMap((extension) => ['-addext', extension]),
  '-keyout',
  path.join(dir, 'new.key'),
  '-out',
  path.join(dir, 'new.crt'),
];

/** A certificate authority. */
export function makeAuthority(program = 'openssl'): Promise<Authority> {
  return within(async (dir) => {
    await openssl(program, request(dir, 'bailiff-bus-ca', CA_DAYS, ['keyUsage=critical,keyCertSign,cRLSign']));
    return readPair(dir);
  });
}

/** A certificate for the servers, valid for clients and for both ends of a route. */
export function makeServer(
  authority: Authority,
  names: readonly string[],
  program = 'openssl',
  days = SERVER_DAYS,
): Promise<Authority> {
  return within(async (dir) => {
    const [certificate, key] = [path.join(dir, 'ca.crt'), path.join(dir, 'ca.key')];
    await writeFile(certificate, authority.certificate, { mode: 0o600 });
    await writeFile(key, authority.key, { mode: 0o600 });
    const alternatives = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
    const extensions = [
      `subjectAltName=${alternatives}`,
      'basicConstraints=critical,CA:FALSE',
      'keyUsage=critical,digitalSignature',
      'extendedKeyUsage=serverAuth,clientAuth',
    ];
    await openssl(program, [...request(dir, 'bailiff-nats', days, extensions), '-CA', certificate, '-CAkey', key]);
    return readPair(dir);
  });
}
