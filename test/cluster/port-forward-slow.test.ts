/** Port-forward through an API server, or a proxy before it, that sends its response byte by byte. */
import { Agent, createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeAuthority, makeServer } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { forwardPort } from '../../libs/kube/src/port-forward.ts';

const TIMEOUT_MS = 500;
const REFUSAL = 'HTTP/1.1 403 Forbidden\r\ncontent-length: 2000\r\n\r\n';

let server: ReturnType<typeof createServer>;
let agent: Agent;
/** Writes what the client gets. @returns what ends it */
let answer: (socket: Duplex) => () => void;
const open = new Set<Duplex>();

beforeAll(async () => {
  const authority = await makeAuthority();
  const { certificate, key } = await makeServer(authority, ['localhost']);
  agent = new Agent({ ca: authority.certificate });
  server = createServer({ cert: certificate, key });
  server.on('upgrade', (_request, socket: Duplex) => {
    open.add(socket);
    const end = answer(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      end();
      open.delete(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  agent?.destroy();
  for (const socket of open) socket.destroy();
  server?.close();
});

/** One byte every 20 ms, after a beginning. */
const drip = (begin: string, rest: string) => (socket: Duplex) => {
  socket.write(begin);
  let at = 0;
  const timer = setInterval(() => socket.write(rest[at++ % rest.length] as string), 20);
  return () => clearInterval(timer);
};

const forward = () => {
  const url = new URL(`https://localhost:${(server.address() as AddressInfo).port}`);
  const how = { timeoutMs: TIMEOUT_MS };
  return forwardPort({ server: url, agent, headers: {} }, '/', 'forward', how, ({ status }) => new Error(`${status}`));
};

it.each([
  ['nothing', '', ''],
  ['the body of a refusal', REFUSAL, 'x'],
  ['a header', 'HTTP/1.1 101 Switching Protocols\r\nx: ', 'x'],
])('%s, byte by byte - ends within the timeout, and leaves no socket', async (_, begin, rest) => {
  answer = rest === '' ? () => () => undefined : drip(begin, rest);
  const startMs = performance.now();
  await expect(forward()).rejects.toMatchObject({ code: 'KUBE_TIMEOUT' });
  expect(performance.now() - startMs).toBeLessThan(10 * TIMEOUT_MS);
  await waitFor(() => open.size === 0, { what: 'the end of the connection', state: () => open.size });
});

it('a refusal that ends in time - is the error', async () => {
  answer = (socket) => {
    socket.write(REFUSAL + 'x'.repeat(2000));
    return () => undefined;
  };
  await expect(forward()).rejects.toThrow('403');
});
