import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { publicKeyOf } from '@bailiff/bus/auth';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { runCli } from '../../testing.ts';
import { BUS_USERS, SECRETS, secretOfUser } from './names.ts';

const directory = temporaryDirectory();
const out = path.join(directory, 'made');
const read = (name: string) => readFileSync(path.join(out, name), 'utf8');
let yaml = '';

interface SecretDocument {
  kind: string;
  metadata: { name: string; namespace: string };
  data: Record<string, string>;
}
function secretsOf(text: string): Map<string, Record<string, string>> {
  const documents = parseAllDocuments(text).map((document) => document.toJS() as SecretDocument);
  const decoded = (data: Record<string, string>) =>
    Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]));
  for (const { kind, metadata } of documents) expect([kind, metadata.namespace]).toEqual(['Secret', 'bailiff-system']);
  return new Map(documents.map(({ metadata, data }) => [metadata.name, decoded(data)]));
}

beforeAll(async () => {
  const { exitCode, stdout, stderr } = await runCli(['credentials', 'init', '--out', out, '--kubernetes']);
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining(out)]);
  yaml = stdout;
});

test('credentials - files are for their owner alone', () => {
  for (const name of ['.', 'users']) expect(statSync(path.join(out, name)).mode & 0o777).toBe(0o700);
  const files = ['credentials.json', 'nats.conf', 'tls.key', 'issuer.seed', 'xkey.seed', 'users/cli.password'];
  for (const name of files) expect([name, statSync(path.join(out, name)).mode & 0o777]).toEqual([name, 0o600]);
});

test('credentials - every Secret that the manifests mount, with its keys and no more', () => {
  const keys = Object.fromEntries([...secretsOf(yaml)].map(([name, content]) => [name, Object.keys(content).sort()]));
  expect(keys).toEqual({
    [SECRETS.natsConf]: ['nats.conf'],
    [SECRETS.natsTls]: ['ca.crt', 'tls.crt', 'tls.key'],
    [SECRETS.busCa]: ['ca.crt'],
    [SECRETS.busAuth]: ['issuer.seed', 'password', 'xkey.seed'],
    [SECRETS.redis]: ['password', 'passwords'],
    ...Object.fromEntries(BUS_USERS.map((user) => [secretOfUser(user), ['password']])),
  });
});

test('credentials - the configuration of the servers holds no password of a user and no seed', () => {
  const secrets = secretsOf(yaml);
  const conf = secrets.get(SECRETS.natsConf)?.['nats.conf'] ?? '';
  expect(conf).toContain('auth_callout');
  for (const user of BUS_USERS) {
    const password = secrets.get(secretOfUser(user))?.['password']?.trim() ?? '';
    expect(password).toMatch(/^[\w-]{43}$/);
    expect(conf).not.toContain(password);
  }
  const { 'issuer.seed': issuer = '', 'xkey.seed': xkey = '' } = secrets.get(SECRETS.busAuth) ?? {};
  expect(conf).not.toContain(issuer.trim());
  expect(conf).toContain(publicKeyOf('issuer', issuer.trim()));
  expect(conf).toContain(publicKeyOf('xkey', xkey.trim()));
  expect(conf).not.toContain(xkey.trim());
});

test('credentials - what is there is never overwritten by init, and a rotation goes step by step', async () => {
  const again = await runCli(['credentials', 'init', '--out', out]);
  expect([again.exitCode, again.stderr]).toEqual([2, expect.stringContaining('already exists')]);
  const early = await runCli(['credentials', 'rotate', '--finish', '--out', out]);
  expect([early.exitCode, early.stderr]).toEqual([2, expect.stringContaining('no rotation is prepared')]);
  const before = read('users/cli.password');
  const conf = read('nats.conf');
  expect((await runCli(['credentials', 'rotate', '--out', out])).exitCode).toBe(0);
  expect(read('users/cli.password').split('\n')).toEqual([expect.stringMatching(/^[\w-]{43}$/), before.trim(), '']);
  expect(read('nats.conf')).toBe(conf);
  const twice = await runCli(['credentials', 'rotate', '--out', out]);
  expect([twice.exitCode, twice.stderr]).toEqual([2, expect.stringContaining('is already prepared')]);
  const shown = await runCli(['credentials', 'show', '--out', out]);
  expect(shown.stdout).toContain('a rotation is prepared');
  expect(shown.stdout).not.toContain(before.trim());
  expect((await runCli(['credentials', 'rotate', '--finish', '--out', out])).exitCode).toBe(0);
  expect(read('nats.conf')).not.toBe(conf);
}, 60_000);

test.each([
  ['not json', 'not JSON'],
  ['{"version":2}', 'version'],
])('credentials - a damaged file is reported, not replaced: %s', async (text, message) => {
  const dir = mkdtempSync(path.join(directory, 'damaged-'));
  writeFileSync(path.join(dir, 'credentials.json'), text);
  for (const command of ['init', 'show', 'rotate']) {
    const { exitCode, stderr } = await runCli(['credentials', command, '--out', dir]);
    expect([command, exitCode]).toEqual([command, command === 'init' ? 2 : 6]);
    if (command !== 'init') expect(stderr).toContain(message);
  }
  expect(readFileSync(path.join(dir, 'credentials.json'), 'utf8')).toBe(text);
});

test.each([
  [['--replicas', '2'], 'tolerate no more failures'],
  [['--replicas', 'many'], 'whole number'],
  [['--dns-name', 'a b'], 'neither a DNS name nor an IP address'],
  [['--namespace', 'UPPER'], 'not a Kubernetes name'],
])('credentials - %j is refused before anything is written', async (args, message) => {
  const { exitCode, stderr } = await runCli(['credentials', 'init', '--out', path.join(directory, 'none'), ...args]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining(message)]);
  expect(() => statSync(path.join(directory, 'none'))).toThrow('ENOENT');
});

test('credentials - without openssl the error has a remedy', async () => {
  const { makeAuthority } = await import('./openssl.ts');
  await expect(makeAuthority('/proc/nonexistent/openssl')).rejects.toMatchObject({
    code: 'CLI_STATE',
    remedy: expect.stringContaining('openssl'),
  });
});
