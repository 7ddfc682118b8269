// Clients that begin a TLS handshake and do not complete it. The server ends them after its
// `tls.timeout`, 2 s by default, and others log in meanwhile.
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import path from 'node:path';
import { freePort, startNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { makeAuthority, makeServer } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { RawNats } from '../support/raw-nats.ts';

const CLIENTS = 500;
/** The first bytes of a ClientHello: a record of 512 bytes. */
const BEGINNING = Buffer.from([0x16, 3, 1, 2, 0, 1, 0]);
const directory = temporaryDirectory();
const file = (name: string) => path.join(directory, name);
const tls = { certFile: file('tls.crt'), keyFile: file('tls.key'), caFile: file('ca.crt') };

test('partial handshakes end after two seconds, and others log in meanwhile', async () => {
  const authority = await makeAuthority();
  const certificate = await makeServer(authority, ['localhost']);
  writeFileSync(tls.caFile, authority.certificate);
  writeFileSync(tls.certFile, certificate.certificate);
  writeFileSync(tls.keyFile, certificate.key, { mode: 0o600 });
  const monitorPort = await freePort();
  await using nats = await startNats({ monitorPort, tls });
  const connections = async () => {
    const response = await fetch(`http://127.0.0.1:${monitorPort}/varz`);
    return ((await response.json()) as { connections: number }).connections;
  };
  const login = () => {
    const who = { user: 'siem-reader', password: 'password-of-siem-reader' };
    return RawNats.connect({ port: nats.port, ...who, tls: { ca: readFileSync(tls.caFile) } });
  };
  await using honest = await login();
  const held: number[] = [];
  const sockets: Socket[] = [];
  for (let index = 0; index < CLIENTS; index += 1) {
    const socket = connectTcp(nats.port, '127.0.0.1').resume();
    const beganMs = performance.now();
    socket.on('error', () => undefined).on('close', () => held.push(performance.now() - beganMs));
    socket.once('data', () => socket.write(BEGINNING));
    sockets.push(socket);
  }
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  await waitFor(async () => (await connections()) > CLIENTS / 10, { what: 'the control: the server holds them' });
  await using later = await login();
  await waitFor(() => held.length === CLIENTS, { what: 'their end', state: () => held.length });
  expect(Math.min(...held)).toBeGreaterThan(1_500);
  await waitFor(async () => (await connections()) === 2, { what: 'the honest clients alone', state: connections });
  await honest.flush();
  await later.flush();
});
