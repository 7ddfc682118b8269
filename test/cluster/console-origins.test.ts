// The address of `bailiff console` in browsers. Another user of the machine may have had the port before.
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { waitFor } from '@bailiff/service/testing';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startBrowser, watchedPage } from '../support/browser.ts';
import { healthyStatus, NODE_A, World } from './cli/world.ts';
import { ask, openedPage, runConsole, textOf } from './console/rig.ts';

let world: World;
let browser: Browser;
beforeAll(async () => {
  world = await World.start();
  await world.status(healthyStatus(NODE_A));
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
});

/** Serves each page of its origin from then on, and takes the token of a link. */
const WORKER = `
  self.addEventListener('install', () => self.skipWaiting());
  self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
  self.addEventListener('fetch', (event) => {
    if (event.request.mode !== 'navigate') return;
    const page = '<h1>taken</h1><script>document.title = location.hash</' + 'script>';
    event.respondWith(new Response(page, { headers: { 'content-type': 'text/html' } }));
  });`;
const PAGE = `<script>
  navigator.serviceWorker.register('/worker.js').then(() => navigator.serviceWorker.ready)
    .then(() => { document.title = 'ready'; });
</script>`;

/** Another user of the machine, while no console listens. */
async function squat(port: number): Promise<Server> {
  const server = createServer(({ url }, response) => {
    const isWorker = url === '/worker.js';
    response.setHeader('content-type', isWorker ? 'text/javascript' : 'text/html');
    response.end(isWorker ? WORKER : PAGE);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

const portOf = (origin: string) => Number(new URL(origin).port);

it('a service worker that another user left at the port - is not at the address of the next run', async () => {
  const first = await runConsole(world);
  const { page } = await openedPage(browser, first);
  await first[Symbol.asyncDispose]();
  const port = portOf(first.origin);
  const other = await squat(port);
  for (const origin of [first.origin, `http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    await page.goto(origin);
    await waitFor(async () => (await page.title()) === 'ready');
  }
  other.closeAllConnections();
  await new Promise((resolve) => other.close(resolve));

  const second = await runConsole(world, port);
  const { page: opened } = await watchedPage(page.context());
  await opened.goto(second.link);
  await opened.getByText('● live').waitFor();
  await page.goto(first.origin);
  await page.getByText('taken').waitFor();
  await second[Symbol.asyncDispose]();
  // The control: at an address of before, it has the token of the link.
  await using third = await runConsole(world, port, ['--no-own-name']);
  await page.goto(third.link);
  await page.getByText('taken').waitFor();
  expect(await page.title()).toBe(new URL(third.link).hash);
  await page.context().close();
});

it('the name leads to both loopback addresses: nobody else listens on either', async () => {
  await using running = await runConsole(world);
  const port = portOf(running.origin);
  for (const host of ['127.0.0.1', '::1']) {
    const server = createNetServer();
    const code = await new Promise((resolve) => {
      server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      server.listen({ host, port }, () => server.close(() => resolve('listens')));
    });
    expect([host, code]).toEqual([host, 'EADDRINUSE']);
  }
  const url = `http://[::1]:${port}`;
  const host = new URL(running.origin).host;
  expect((await ask(url, '/', { headers: { host } })).status).toBe(200);
  expect((await ask(url, '/api/history', { headers: { host } })).status).toBe(401);
});

it('a port that another user has at ::1 only - is not used', async () => {
  const server = createNetServer();
  await new Promise<void>((resolve) => server.listen(0, '::1', resolve));
  const { port } = server.address() as AddressInfo;
  const { exitCode, stderr } = await world.cli(['console', '--port', String(port)]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining('EADDRINUSE')]);
  await new Promise((resolve) => server.close(resolve));
  // The control, and nothing of the refused run is left.
  await using _running = await runConsole(world, port);
});

it('a link of an earlier run, or of another person - leads to the page at the own address; nothing else does', async () => {
  await using running = await runConsole(world);
  const port = portOf(running.origin);
  const { page } = await openedPage(browser, running);
  for (const name of ['127.0.0.1', '0123456789abcdef.localhost']) {
    await page.goto(`http://${name}:${port}/history?since=all`);
    expect(page.url()).toBe(`${running.origin}/history?since=all`);
    await page.getByText('● connected').waitFor();
  }
  expect(await textOf(page)).not.toContain('no session');
  const at = async (path: string, host: string) => (await ask(running.origin, path, { headers: { host } })).status;
  expect(await at('/', `127.0.0.1:${port}`)).toBe(307);
  expect(await at('/app.js', `127.0.0.1:${port}`)).toBe(421);
  expect(await at('/api/history', `127.0.0.1:${port}`)).toBe(421);
  expect(await at('/', `rebound.example:${port}`)).toBe(421);
  await page.context().close();
});
