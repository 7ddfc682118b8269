// The responder and `bailiff doctor` with a Redis behind TLS: with a private authority, with and
// without a client certificate.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeAuthority, makeServer } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { acting, Rig } from './responder/rig.ts';

const directory = temporaryDirectory();
const file = (name: string) => path.join(directory, name);
const [caFile, certFile, keyFile, strangeCa] = ['ca.crt', 'tls.crt', 'tls.key', 'strange.crt'].map(file) as [
  string,
  string,
  string,
  string,
];
let rig: Rig;
let open: TestRedis & { address: string };
let asking: TestRedis & { address: string };

beforeAll(async () => {
  const authority = await makeAuthority();
  const server = await makeServer(authority, ['localhost', '127.0.0.1']);
  writeFileSync(caFile, authority.certificate);
  writeFileSync(strangeCa, (await makeAuthority()).certificate);
  writeFileSync(certFile, server.certificate);
  writeFileSync(keyFile, server.key, { mode: 0o600 });
  const start = async (asksClients: boolean) => {
    const port = await freePort();
    const redis = await startRedis({ port, certFile, keyFile, caFile, asksClients });
    return Object.assign(redis, { address: `rediss://localhost:${port}` });
  };
  [open, asking] = [await start(false), await start(true)];
  rig = await Rig.start();
  await rig.policies({ report: acting('tell', [{ action: 'observe' }]) });
}, 60_000);
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await Promise.all([open, asking].map((redis) => redis?.[Symbol.asyncDispose]()));
});

it.each<[string, () => Parameters<Rig['start']>[0]]>([
  ['by name', () => ({ redisUrl: open.address, redisCaFile: caFile })],
  ['by address', () => ({ redisUrl: open.address.replace('localhost', '127.0.0.1'), redisCaFile: caFile })],
  [
    'that asks for a certificate',
    () => ({ redisUrl: asking.address, redisCaFile: caFile, redisCertFile: certFile, redisKeyFile: keyFile }),
  ],
])('a verdict gets its response through a Redis with TLS %s', async (_, flags) => {
  const responder = await rig.start(flags());
  const verdict = await rig.verdict(rig.pod(), { rule: 'tell' });
  await rig.until(verdict, 'observe', 'succeeded');
  expect(await responder.stop()).toBe(0);
});

it.each<[string, () => Parameters<Rig['start']>[0], RegExp]>([
  ['no configured authority', () => ({ redisUrl: open.address }), /self-signed certificate|unable to/],
  [
    'another authority',
    () => ({ redisUrl: open.address, redisCaFile: strangeCa }),
    /self-signed certificate|unable to/,
  ],
  // With TLS 1.3 the server refuses after the client's handshake: its alert may arrive after the
  // end of the connection was seen.
  [
    'a missing client certificate',
    () => ({ redisUrl: asking.address, redisCaFile: caFile }),
    /certificate|ECONNRESET|EPIPE/,
  ],
])('Redis cannot be reached with %s, and the log has the reason', async (_, flags, why) => {
  const responder = rig.begin(flags());
  const lost = () => responder.log().find(({ msg }) => String(msg).startsWith('Redis connection lost'));
  await waitFor(lost, { what: 'Redis to be reported as lost', state: () => responder.log().slice(-5) });
  expect(JSON.stringify(lost())).toMatch(why);
  expect(responder.log().some(({ msg }) => msg === 'ready')).toBe(false);
  expect(await responder.stop()).toBe(0);
});

it('the certificate of Redis ends in two days, then in 365 - status and doctor name it, until it is renewed', async () => {
  const port = await freePort();
  const authority = await makeAuthority();
  const install = async (days: number) => {
    const server = await makeServer(authority, ['localhost'], 'openssl', days);
    writeFileSync(file('short.crt'), server.certificate);
    writeFileSync(file('short.key'), server.key, { mode: 0o600 });
    // For a year, most of which has passed.
    const time = (day: number) =>
      `${new Date(Date.now() + day * 86_400_000).toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
    const life = ['-not_before', time(days - 365), '-not_after', time(days)];
    const by = ['-CA', file('short-ca.crt'), '-CAkey', file('short-ca.key'), '-copy_extensions', 'copyall'];
    execFileSync('openssl', ['x509', '-in', file('short.crt'), ...by, ...life, '-out', file('short.crt')], {
      stdio: 'pipe',
    });
  };
  writeFileSync(file('short-ca.crt'), authority.certificate);
  writeFileSync(file('short-ca.key'), authority.key, { mode: 0o600 });
  const own = { port, certFile: file('short.crt'), keyFile: file('short.key'), caFile: file('short-ca.crt') };
  const both = async () => {
    const bus = ['--nats-url', rig.nats.url, '--nats-user', 'admin', '--nats-password-file', file('admin.password')];
    const runs = await Promise.all(
      [['status'], ['doctor', '--only', 'bus']].map((words) => runCli([...words, ...bus])),
    );
    return runs.map(({ stdout }) => stdout);
  };
  writeFileSync(file('admin.password'), 'password-of-admin', { mode: 0o600 });
  const shown = (isNamed: boolean) =>
    waitFor(
      async () => (await both()).every((text) => /✗ .*its Redis certificate ends in 1d 23h/.test(text) === isNamed),
      {
        what: `the certificate to be ${isNamed ? '' : 'no longer '}named`,
        timeoutMs: 60_000,
        state: both,
      },
    );
  for (const [days, isNamed] of [
    [2, true],
    [365, false],
  ] as const) {
    await install(days);
    await using _ = await startRedis({ ...own, asksClients: false });
    const responder = await rig.start({ redisUrl: `rediss://localhost:${port}`, redisCaFile: own.caFile });
    await shown(isNamed);
    expect(await responder.stop()).toBe(0);
  }
}, 180_000);

it('a responder without its Redis stops in order on SIGTERM', async () => {
  const port = await freePort();
  await using gone = await startRedis({ port, certFile, keyFile, caFile, asksClients: false });
  const responder = await rig.start({ redisUrl: `rediss://localhost:${port}`, redisCaFile: caFile });
  await gone.kill();
  const lost = () => responder.log().some(({ msg }) => String(msg).startsWith('Redis connection lost'));
  await waitFor(lost, { what: 'Redis to be reported as lost', state: () => responder.log().slice(-5) });
  expect(await responder.stop()).toBe(0);
});

it('new certificates of another authority, on both sides, are used at the next connection', async () => {
  const port = await freePort();
  const [ca, cert, key] = ['renewed-ca.crt', 'renewed.crt', 'renewed.key'].map(file) as [string, string, string];
  const renew = async () => {
    const authority = await makeAuthority();
    const pair = await makeServer(authority, ['localhost']);
    writeFileSync(ca, authority.certificate);
    writeFileSync(cert, pair.certificate);
    writeFileSync(key, pair.key, { mode: 0o600 });
  };
  const start = () => startRedis({ port, certFile: cert, keyFile: key, caFile: ca, asksClients: true });
  await renew();
  const before = await start();
  const flags = { redisUrl: `rediss://localhost:${port}`, redisCaFile: ca, redisCertFile: cert, redisKeyFile: key };
  const responder = await rig.start(flags);
  await before.kill();
  await before[Symbol.asyncDispose]();
  await renew();
  await using _after = await start();
  const verdict = await rig.verdict(rig.pod(), { rule: 'tell' });
  await rig.until(verdict, 'observe', 'succeeded');
  const code = await responder.stop();
  expect({ code, log: code ? responder.log().slice(-12) : [] }).toEqual({ code: 0, log: [] });
});

it('bailiff doctor checks through TLS too', async () => {
  const doctor = (...flags: string[]) => runCli(['doctor', '--only', 'redis', '--redis-url', open.address, ...flags]);
  expect((await doctor('--redis-ca-file', caFile)).stdout).toMatch(/✓ server: [678]/);
  const stranger = await doctor();
  expect([stranger.exitCode, stranger.stdout]).toEqual([7, expect.stringContaining('--redis-ca-file')]);
});
