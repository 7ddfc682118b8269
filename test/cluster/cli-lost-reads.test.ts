/** Commands whose reads of one bucket get no response, as from a stream without a leader: break-glass does not wait. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { encodeToken } from '@bailiff/bus';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { healthyStatus, NODE_A, NODE_B, World } from './cli/world.ts';

const READ_OF_NODES = /(PUB \$JS\.API\.DIRECT\.GET\.KV_bailiff_nodes\S* \S*)\S( \d+\r\n)/g;

let world: World;
let url: string;
let isLosing = false;
const sockets = new Set<Socket>();
/** Its server gets each read of the nodes with a reply subject that nobody waits for, of the same length. */
const proxy = createServer((client) => {
  const server = connect(Number(new URL(world.nats.url).port), '127.0.0.1');
  for (const socket of [client, server]) {
    sockets.add(socket);
    socket.on('error', () => undefined);
  }
  client.on('close', () => server.destroy());
  client.on('data', (bytes) => {
    const text = bytes.toString('latin1');
    server.write(isLosing ? Buffer.from(text.replace(READ_OF_NODES, '$1_$2'), 'latin1') : bytes);
  });
  server.pipe(client);
});

beforeAll(async () => {
  world = await World.start();
  for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  url = `nats://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  proxy.close();
  await world?.[Symbol.asyncDispose]();
});

const TIMEOUT_MS = 3_000;
async function disarm(...scope: string[]) {
  const args = ['disarm', ...scope, '--for', '10m', '--reason', 'incident', '--yes', '--timeout', `${TIMEOUT_MS}ms`];
  const startedMs = performance.now();
  const run = await world.cli(args, { env: { BAILIFF_NATS_URL: url } });
  return { ...run, tookMs: performance.now() - startedMs };
}

it.each([[['--all']], [['--namespace', 'shop']], [['--node', NODE_A]]])(
  '%s is disarmed after one timeout, which is said; control: at once and without a note',
  async (scope) => {
    isLosing = false;
    const before = await disarm(...scope);
    expect(before).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('is disarmed until') });
    expect(before.stderr).not.toMatch(/could not be read|not checked/);
    isLosing = true;
    const after = await disarm(...scope);
    expect(after).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('is disarmed until') });
    expect(after.stderr).toContain('silent nodes are not known: their statuses could not be read');
    expect(after.tookMs - before.tookMs).toBeLessThan(1.8 * TIMEOUT_MS);
  },
);

it('armed again, and listed, while no status of a node can be read - both say so; control: neither does', async () => {
  const run = (...args: string[]) =>
    world.cli(['disarm', ...args, '--timeout', `${TIMEOUT_MS}ms`], { env: { BAILIFF_NATS_URL: url } });
  for (const lost of [false, true]) {
    isLosing = false;
    expect(await disarm('--namespace', 'shop')).toMatchObject({ exitCode: 0 });
    isLosing = lost;
    const listed = await run();
    expect(listed).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('DISARMED: namespace shop') });
    expect(/what nodes have is not known, only what is stored/.test(listed.stderr)).toBe(lost);
    const armed = await run('--namespace', 'shop', '--off');
    expect(armed).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/namespace shop (is armed|has ended)/) });
    expect(/which values nodes refuse is not known/.test(armed.stderr)).toBe(lost);
  }
}, 120_000);

it('a quarantine list that cannot be read - limits what the list says; control: none is read wrongly', async () => {
  const list = async () => (await world.cli(['quarantine', 'list'])).stderr;
  expect(await list()).toBe('no pod is in quarantine\n');
  await world.put('bailiff_quarantine', encodeToken(NODE_B), { nodeName: NODE_B, revision: 'x', entries: [] });
  expect(await list()).toContain('no pod is in quarantine, as far as the lists could be read');
});
