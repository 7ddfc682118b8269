// A `tls://` URL means TLS: no login is sent to a server that offers none, in the first attempt, at a
// reconnect and by the command line, with and without a CA file.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { type BusError, connectBus } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { busOptionsOf } from '@bailiff/service';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { makeAuthority, makeServer } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { runCli } from '../../apps/cli/src/testing.ts';

const PASSWORD = 'password-of-correlator';
const directory = temporaryDirectory();
const file = (name: string) => path.join(directory, name);
const tls = { certFile: file('tls.crt'), keyFile: file('tls.key'), caFile: file('ca.crt') };
const passwordFile = file('password');
writeFileSync(passwordFile, PASSWORD, { mode: 0o600 });

/** A server that offers no TLS and accepts every login. */
async function plainServer(port = 0) {
  let received = '';
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined);
    const hello = { server_id: 'S', version: '2.10.27', proto: 1, host: '127.0.0.1', port, max_payload: 1_048_576 };
    socket.write(`INFO ${JSON.stringify({ ...hello, headers: true })}\r\n`);
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (received.includes('PING')) socket.write('PONG\r\n');
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received: () => received,
    connections: () => connections,
    [Symbol.dispose]: () => void server.close(),
  };
}

async function makeCertificates(name = 'localhost'): Promise<void> {
  const authority = await makeAuthority();
  const certificate = await makeServer(authority, [name]);
  writeFileSync(tls.caFile, authority.certificate);
  writeFileSync(tls.certFile, certificate.certificate);
  writeFileSync(tls.keyFile, certificate.key, { mode: 0o600 });
}

/** Options as services build them from their configuration. */
const optionsFor = (natsUrl: string, natsCaFile = '') => ({
  ...busOptionsOf({
    natsUrl,
    natsUser: 'correlator',
    natsPasswordFile: passwordFile,
    natsTokenFile: '',
    natsCaFile,
    natsCertFile: '',
    natsKeyFile: '',
  }),
  name: 'test',
  timeoutMs: 2_000,
});

test('a first attempt sends no password to a server without TLS', async () => {
  await makeCertificates();
  using server = await plainServer();
  const at = `127.0.0.1:${server.port}`;
  const cases: [string, string][] = [
    [`tls://${at}`, ''],
    [`TLS://${at}`, ''],
    [`nats://${at}, tls://${at}`, ''],
    [`tls://${at}`, tls.caFile],
    [`nats://${at}`, tls.caFile],
  ];
  for (const [index, [url, caFile]] of cases.entries()) {
    const failure = await connectBus(optionsFor(url, caFile)).catch((error: BusError) => error);
    expect(failure, url).toMatchObject({ code: 'BUS_UNREACHABLE', message: expect.stringContaining('offers no TLS') });
    expect(server.connections()).toBeGreaterThan(index);
  }
  expect(server.received()).toBe('');
  // The control: without the scheme the password is sent.
  await (await connectBus(optionsFor(`nats://${at}`))).close();
  expect(server.received()).toContain(PASSWORD);
});

test('a server whose certificate is for another name is refused', async () => {
  await makeCertificates('nats.other.example');
  await using other = await startNats({ tls });
  for (const host of ['localhost', '127.0.0.1']) {
    const connecting = connectBus(optionsFor(`tls://${host}:${other.port}`, tls.caFile));
    await expect(connecting, host).rejects.toThrow('does not match certificate');
  }
  // The control: the same with the right name.
  await makeCertificates();
  await using right = await startNats({ tls });
  await (await connectBus(optionsFor(`tls://localhost:${right.port}`, tls.caFile))).close();
});

test('the command line sends no password to a server without TLS', async () => {
  using server = await plainServer();
  const run = (scheme: string) =>
    runCli([
      ...['events', '--nats-user', 'correlator', '--nats-password-file', passwordFile, '--timeout', '1s'],
      ...['--nats-url', `${scheme}://127.0.0.1:${server.port}`],
    ]);
  const refused = await run('tls');
  expect([refused.exitCode, refused.stderr]).toEqual([7, expect.stringContaining('offers no TLS')]);
  expect([server.connections(), server.received()]).toEqual([1, '']);
  await run('nats');
  expect(server.received(), 'the control').toContain(PASSWORD);
});

test('a reconnect sends no password to a server without TLS that replaces one with TLS', async () => {
  await makeCertificates();
  const nats = await startNats({ tls });
  const { port } = nats;
  const bus = await connectBus(optionsFor(`tls://localhost:${port}`, tls.caFile));
  try {
    expect(bus.connected, 'the control: a server with TLS is accepted').toBe(true);
    await nats[Symbol.asyncDispose]();
    using server = await plainServer(port);
    await waitFor(() => server.connections() >= 2, { what: 'two attempts', state: server.connections });
    expect([bus.connected, server.received()]).toEqual([false, '']);
  } finally {
    await bus.close();
  }
});
