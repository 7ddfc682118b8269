/**
 * Changes the password between the servers of a bus while streams on all three are written:
 * `credentials rotate --routes`, step by step.
 */
import { rmSync } from 'node:fs';
import { consumeOrdered, ensureTopology, FramePublisher, violationSubject } from '@bailiff/bus';
import { freePort, startNats, type TestNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tlsIn } from '../../apps/cli/src/operate/credentials/render.ts';
import { load } from '../../apps/cli/src/operate/credentials/store.ts';
import { runCli } from '../../apps/cli/src/testing.ts';

const out = temporaryDirectory();
const servers: TestNats[] = [];
const monitors: number[] = [];
let routes: number[] = [];

async function credentials(...args: string[]) {
  const { exitCode, stderr } = await runCli(['credentials', ...args, '--out', out]);
  expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
  return { ...(await load(out)), printed: stderr };
}

/** As `bailiff credentials` renders the cluster's configuration. */
const conf = (index: number, from: { routePassword: string; nextRoutePassword?: string | undefined }) => ({
  serverName: `nats-${index}`,
  monitorPort: monitors[index] as number,
  cluster: {
    name: 'bailiff',
    port: routes[index] as number,
    user: 'route',
    password: from.routePassword,
    routes: routes.map((port) => `127.0.0.1:${port}`),
    tls: tlsIn(out),
    passwordChanges: from.nextRoutePassword !== undefined,
  },
});

/** Names of the servers to which a server has routes, without duplicates. */
async function peersOf(index: number): Promise<string[]> {
  const { routes: found } = (await (await fetch(`http://127.0.0.1:${monitors[index]}/routez`)).json()) as {
    routes: { remote_name: string }[] | null;
  };
  return [...new Set((found ?? []).map(({ remote_name }) => remote_name))].sort();
}
const others = (index: number) => [0, 1, 2].filter((one) => one !== index).map((one) => `nats-${one}`);
const joined = (index: number) =>
  waitFor(async () => (await peersOf(index)).join() === others(index).join(), {
    what: `nats-${index} to have its routes`,
    state: () => peersOf(index),
  });

beforeAll(async () => {
  for (let n = 0; n < 3; n += 1) monitors.push(await freePort());
  routes = await Promise.all([0, 1, 2].map(() => freePort()));
  const first = await credentials('init');
  for (const index of [0, 1, 2]) servers.push(await startNats(conf(index, first)));
  for (const index of [0, 1, 2]) await joined(index);
}, 60_000);
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});

test('routes - two rounds of reloads change the password, and every frame written meanwhile is on three servers', async () => {
  const admin = await (servers[2] as TestNats).connect('admin');
  await waitFor(() => ensureTopology(admin, { replicas: 3 }).then(() => true), {
    what: 'streams on three servers',
    timeoutMs: 30_000,
    intervalMs: 250,
  });
  const bus = await (servers[0] as TestNats).connect('collector-node-a');
  const publisher = new FramePublisher(bus);
  const sent: Promise<unknown>[] = [];
  const fire = setInterval(() => {
    if (publisher.capacity === 0) return;
    const msgId = `frame-${sent.length}`;
    sent.push(publisher.publish(violationSubject('node-a', 'spoof'), Buffer.from(msgId), { msgId }));
  }, 20);
  const reloadAll = async (to: Parameters<typeof conf>[1]) => {
    for (const [index, server] of servers.entries()) {
      await server.reload(conf(index, to));
      await joined(index);
      // The cluster is complete after each reload: each server has both others.
      for (const one of [0, 1, 2]) await joined(one);
      const acked = publisher.acked;
      await waitFor(() => publisher.acked > acked, { what: `frames after nats-${index}` });
    }
  };
  const prepared = await credentials('rotate', '--routes');
  expect(prepared.printed).toContain('when the pods have the Secrets, also reload each server');
  await reloadAll(prepared);
  const finished = await credentials('rotate', '--finish');
  expect(finished.routePassword).toBe(prepared.nextRoutePassword);
  await reloadAll(finished);
  clearInterval(fire);
  await Promise.all(sent);
  publisher.close();
  // A frame that is sent again while the leader changes may be stored twice: readers expect that.
  const stored = new Set<string>();
  const end = new AbortController();
  await consumeOrdered(admin, 'VIOLATIONS', {
    start: 'all',
    onMessage: ({ data }) => void stored.add(Buffer.from(data).toString()),
    onIdle: () => end.abort(),
    signal: end.signal,
  });
  expect([...stored].sort()).toEqual(sent.map((_, n) => `frame-${n}`).sort());

  // The control: a server that gets another password at once is separated and stays so. The old
  // password is invalid. A server lists a route before it checks the other's password, so the test
  // checks whether messages cross it.
  const [first] = servers as [TestNats];
  const cut = await first.connect('admin');
  const received: number[] = [];
  const subject = `${admin.inboxPrefix}.control`;
  const subscription = admin.nc.subscribe(subject, {
    callback: (error, message) => {
      received.push(error === null ? Number(message.string()) : Number.NaN);
    },
  });
  let sends = 0;
  const comesAcross = (since: number) => {
    cut.nc.publish(subject, `${sends++}`);
    return received.some((one) => !(one < since));
  };
  await waitFor(() => comesAcross(0), { what: 'a message of nats-0 at nats-2' });
  const before = first.log.length;
  await first.reload(conf(0, { routePassword: prepared.routePassword }));
  const refusals = () => first.log.slice(before).match(/Authorization Violation|authentication error/gi)?.length ?? 0;
  await waitFor(() => refusals() > 0, { what: 'its password to be refused', state: () => first.log.slice(before) });
  const [parted, refused] = [sends, refusals()];
  const triedAgain = () => refusals() >= refused + 4;
  await waitFor(() => comesAcross(parted) || triedAgain(), { what: 'it to try again, both ways', state: refusals });
  expect(received.filter((one) => !(one < parted))).toEqual([]);
  await first.reload(conf(0, finished));
  for (const one of [0, 1, 2]) await joined(one);
  await waitFor(() => comesAcross(parted), { what: 'a message of nats-0 at nats-2 again' });
  subscription.unsubscribe();
}, 120_000);

test('a new authority - servers that were reloaded after the first step restart one by one, others stay apart', async () => {
  const restart = async (index: number) => {
    const server = servers[index] as TestNats;
    const before = server.log.length;
    await server.restart(conf(index, await load(out)));
    return () => server.log.slice(before);
  };
  const prepared = await credentials('rotate', '--ca');
  expect(prepared.printed, 'a single server').not.toContain('also reload each one');
  await credentials('rotate', '--finish');
  const logged = await restart(2);
  await waitFor(() => (logged().match(/TLS route handshake error/g)?.length ?? 0) > 1, {
    what: 'control: nats-2 and the others to refuse each other',
    state: logged,
  });
  expect(await peersOf(2), 'control').toEqual([]);
  // They all start with the same authority, as after the end of all pods.
  await Promise.all([restart(0), restart(1)]);
  for (const index of [0, 1, 2]) await joined(index);

  await credentials('rotate', '--ca');
  for (const [index, server] of servers.entries()) {
    await server.reload(conf(index, await load(out)));
    for (const one of [0, 1, 2]) await joined(one);
  }
  await credentials('rotate', '--finish');
  for (const index of [2, 1, 0]) {
    await restart(index);
    for (const one of [0, 1, 2]) await joined(one);
  }
}, 120_000);

test('a new authority - of several servers, the first step says to reload them', async () => {
  const several = temporaryDirectory();
  const cli = (...args: string[]) => runCli(['credentials', ...args, '--out', several]);
  await cli('init', '--replicas', '3');
  expect((await cli('rotate')).stderr).not.toContain('also reload each one');
  await cli('rotate', '--abort');
  expect((await cli('rotate', '--ca')).stderr).toContain('Several servers: when the pods have the Secrets');
});

// Why `credentials install` refuses another number of servers.
test('from one server to three - its streams are gone, and a cluster that starts again keeps its own', async () => {
  const login = await load(out);
  await Promise.all(servers.map((server) => server.kill()));
  await using lone = await startNats({ serverName: 'nats-0', monitorPort: monitors[0] as number });
  const streams = async (nats: TestNats) => {
    const admin = await nats.connect('admin');
    try {
      return (await admin.jsm.streams.names().next()).length;
    } finally {
      await admin.close();
    }
  };
  const alone = await lone.connect('admin');
  await ensureTopology(alone);
  await alone.close();
  const all = await streams(lone);
  expect(all).toBeGreaterThan(10);
  await lone.kill();
  await lone.restart();
  expect(await streams(lone), 'control: alone it keeps them').toBe(all);

  const [, ...more] = servers as [TestNats, TestNats, TestNats];
  const startAll = async () => {
    await lone.restart(conf(0, login));
    for (const server of more) await server.restart();
    for (const index of [0, 1, 2]) await joined(index);
  };
  for (const { storeDir } of more) rmSync(storeDir, { recursive: true });
  await startAll();
  const count = () => streams(lone).catch(() => -1);
  await waitFor(async () => (await count()) === 0 && /orphan/i.test(lone.log), {
    what: 'the streams to be gone',
    timeoutMs: 90_000,
    intervalMs: 500,
    state: async () => [await count(), lone.log.slice(-1_000)],
  });

  const admin = await lone.connect('admin');
  await waitFor(() => ensureTopology(admin, { replicas: 3 }).then(() => true), {
    what: 'streams on three servers',
    timeoutMs: 30_000,
    intervalMs: 250,
  });
  await admin.close();
  await Promise.all([lone, ...more].map((server) => server.kill()));
  await startAll();
  await waitFor(async () => (await count()) === all, {
    what: 'the streams of the cluster',
    timeoutMs: 60_000,
    state: count,
  });
}, 240_000);
