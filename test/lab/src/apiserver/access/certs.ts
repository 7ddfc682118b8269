/**
 * Certificates of the stand-in: its certificate authority and a server certificate, created by
 * openssl. Existing files are reused, so that a kubeconfig stays valid after a restart in the same
 * directory. Keys stay in the directory, mode 0600.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Days of validity: longer than any lab runs. */
const validDays = '30';

/** openssl takes milliseconds; the limit is for a hanging machine. */
const opensslTimeoutMs = 30_000;

export interface Certificates {
  caFile: string;
  ca: string;
  cert: string;
  key: string;
}

/** A certificate could not be created. `code` is stable; the cause contains openssl's output. */
export class CertificateError extends Error {
  readonly code = 'CERTIFICATE';
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function openssl(args: string[]): Promise<void> {
  try {
    await run('openssl', args, { timeout: opensslTimeoutMs });
  } catch (cause) {
    throw new CertificateError(`openssl ${args[0]} failed: is openssl installed?`, { cause });
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', validDays];

/** Creates or reuses the certificates in `dir` (created if absent). Throws CertificateError. */
export async function ensureCertificates(dir: string, host: string): Promise<Certificates> {
  await mkdir(dir, { recursive: true });
  const path = (name: string) => join(dir, name);
  if (!(await exists(path('server.crt')))) {
    const caNames = ['-subj', '/CN=bailiff-lab-ca', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
    await openssl(['req', '-x509', ...newKey, '-keyout', path('ca.key'), '-out', path('ca.crt'), ...caNames]);
    const names = `subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:::1,IP:${host}`;
    const signed = ['-CA', path('ca.crt'), '-CAkey', path('ca.key')];
    const usage = [
      '-addext',
      names,
      '-addext',
      'basicConstraints=critical,CA:FALSE',
      '-addext',
      'extendedKeyUsage=serverAuth',
    ];
    await openssl([
      'req',
      '-x509',
      ...signed,
      ...newKey,
      '-subj',
      '/CN=bailiff-lab-api',
      ...usage,
      '-keyout',
      path('server.key'),
      '-out',
      path('server.crt'),
    ]);
    await chmod(path('ca.key'), 0o600);
    await chmod(path('server.key'), 0o600);
  }
  const read = (name: string) => readFile(path(name), 'utf8');
  const [ca, cert, key] = await Promise.all([read('ca.crt'), read('server.crt'), read('server.key')]);
  return { caFile: path('ca.crt'), ca, cert, key };
}
