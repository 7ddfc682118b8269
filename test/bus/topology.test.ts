import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  checkHorizon,
  connectBus,
  ensureTopology,
  openBucket,
  requireHorizon,
  streamConfigs,
  streamInfo,
} from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { CURRENT_SCHEMAS, decodeWithLookup, encodeVerdict, fingerprintHex, SchemaRegistry } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { NATS_PROGRAM, NEWEST_ROOT } from '../../tools/nats-server.ts';
import { startBus } from '../support/bus.ts';

const HOUR_MS = 3_600_000;

test('server - is the version that this run requests', async () => {
  await using nats = await startNats();
  const { version = '' } = (await nats.connect('admin')).nc.info ?? {};
  expect(version).toMatch(/^2\./);
  // Without the variable, any version of the machine is accepted.
  if (process.env['BAILIFF_NATS'] !== 'newest') return;
  const newest = path.join(NEWEST_ROOT, NATS_PROGRAM);
  expect(execFileSync(newest, ['--version'], { encoding: 'utf8' })).toContain(`v${version}`);
});

test('topology - is created, created again without a change, and changed where allowed', async () => {
  await using nats = await startNats();
  const admin = await nats.connect('admin');
  await ensureTopology(admin, { violationsMaxAgeMs: HOUR_MS });
  const created = await streamInfo(admin, 'VIOLATIONS');
  await ensureTopology(admin, { violationsMaxAgeMs: HOUR_MS });
  expect((await streamInfo(admin, 'VIOLATIONS')).created).toBe(created.created);
  await ensureTopology(admin, { violationsMaxAgeMs: 2 * HOUR_MS });
  const changed = await streamInfo(admin, 'VIOLATIONS');
  expect(changed.created).toBe(created.created);
  expect(changed.config.max_age).toBe(2 * HOUR_MS * 1e6);
  const names: string[] = [];
  for await (const info of admin.jsm.streams.list()) names.push(info.config.name);
  expect(names.sort()).toEqual(
    streamConfigs()
      .map(({ name }) => name)
      .sort(),
  );
});

test('topology - survives a restart, with its content', async () => {
  await using nats = await startBus();
  await openBucket(await nats.connect('ipam-sync'), 'bailiff_pods').put('node-a', '1');
  await nats.restart();
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  expect(await openBucket(admin, 'bailiff_pods').get('node-a')).toMatchObject({ revision: 1 });
});

test('topology - a stream that cannot be changed as requested is an error', async () => {
  await using nats = await startNats();
  const admin = await nats.connect('admin');
  await admin.jsm.streams.add({ name: 'VERDICTS', subjects: ['bailiff.v1.verdicts.>'], storage: 'memory' });
  await expect(ensureTopology(admin)).rejects.toMatchObject({ code: 'BUS_TOPOLOGY' });
});

test('topology - evidence cannot be edited: no message of a stream can be deleted and no stream purged', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.js.publish('bailiff.v1.verdicts.high.a.b.c', 'x');
  for (const stream of ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'DEAD_LETTERS']) {
    await expect(admin.jsm.streams.purge(stream), stream).rejects.toThrow();
  }
  await expect(admin.jsm.streams.deleteMessage('VERDICTS', 1)).rejects.toThrow();
  expect((await streamInfo(admin, 'VERDICTS')).state.messages).toBe(1);
});

test('topology - a reader finds the schemas of this build by fingerprint', async () => {
  await using nats = await startBus();
  const bucket = openBucket(await nats.connect('reader'), 'bailiff_schemas');
  for (const { text } of CURRENT_SCHEMAS) {
    expect((await bucket.get(`fp-${fingerprintHex(JSON.parse(text))}`))?.value.toString()).toBe(text);
  }
  const registry = new SchemaRegistry(async (hex) => (await bucket.get(`fp-${hex}`))?.value.toString() ?? null);
  expect((await decodeWithLookup(encodeVerdict(sampleVerdict()), registry)).value).toEqual(sampleVerdict());
});

test('horizon - verdicts and responses with too short a retention are reported, each by name', async () => {
  await using nats = await startBus({ violationsMaxAgeMs: 24 * HOUR_MS, longestTimespanMs: HOUR_MS });
  const correlator = await nats.connect('correlator');
  expect(await requireHorizon(correlator)).toMatchObject({
    ok: true,
    longestTimespanMs: HOUR_MS,
    requiredMs: 49 * HOUR_MS,
  });
  // Rules with a longer timespan than the retention of the streams.
  expect((await checkHorizon(correlator, 2 * HOUR_MS)).problems).toHaveLength(2);
  const admin = await nats.connect('admin');
  await admin.jsm.streams.update('RESPONSES', { max_age: 48 * HOUR_MS * 1e6 });
  await expect(requireHorizon(correlator)).rejects.toMatchObject({ code: 'BUS_HORIZON' });
  expect((await checkHorizon(correlator)).problems).toEqual([
    `RESPONSES keeps ${48 * HOUR_MS} ms; a replay needs ${49 * HOUR_MS} ms`,
  ]);
  await admin.jsm.streams.update('RESPONSES', { max_age: 0 });
  expect(await requireHorizon(correlator)).toMatchObject({ ok: true, responsesMaxAgeMs: 0 });
  await admin.jsm.streams.update('VIOLATIONS', { max_age: 0 });
  expect((await checkHorizon(correlator)).problems).toHaveLength(1);
});

test('connect - an unavailable server, a wrong password and a missing user have their codes', async () => {
  await using nats = await startNats();
  const options = nats.options('reader');
  await expect(connectBus({ ...options, servers: 'nats://127.0.0.1:1' })).rejects.toMatchObject({
    code: 'BUS_UNREACHABLE',
  });
  await expect(connectBus({ ...options, password: 'wrong' })).rejects.toMatchObject({ code: 'BUS_AUTHENTICATION' });
  await expect(connectBus({ ...options, user: 'nobody' })).rejects.toMatchObject({ code: 'BUS_AUTHENTICATION' });
  await expect(connectBus({ ...options, passwordFile: '/proc/nonexistent' })).rejects.toThrow();
});

test('connect - waits for a server to start, or until it is aborted', async () => {
  await using nats = await startNats();
  const options = { ...nats.options('reader'), waitForServer: true };
  await nats.kill();
  const stop = new AbortController();
  const stopped = connectBus({ ...options, signal: stop.signal });
  stop.abort(new Error('stopped'));
  await expect(stopped).rejects.toThrow('stopped');
  const connecting = connectBus(options);
  await nats.restart();
  const bus = await connecting;
  expect(bus.connected).toBe(true);
  await bus.drain();
});

test('connect - reports each change of the connection and reconnects after every restart', async () => {
  await using nats = await startNats();
  const bus = await nats.connect('reader');
  const reported: string[] = [];
  bus.statusListeners.add(({ type }) => {
    // An attempt between kill and start, on a busy machine.
    if (type !== 'unreachable') reported.push(type);
  });
  for (const times of [1, 2]) {
    await nats.kill();
    await waitFor(() => !bus.connected);
    const back = bus.whenConnected();
    await nats.restart();
    await back;
    expect(bus.connects).toBe(times + 1);
  }
  expect(reported).toEqual(['disconnected', 'connected', 'disconnected', 'connected']);
  await bus.close();
  await waitFor(() => reported.at(-1) === 'closed');
  expect(bus.connected).toBe(false);
  await expect(bus.whenConnected()).rejects.toMatchObject({ code: 'BUS_CLOSED' });
  await bus.close();
  await bus.drain();
});

test('connect - a password file that is missing for a while does not end the connection', async () => {
  await using nats = await startNats();
  const directory = temporaryDirectory();
  const passwordFile = path.join(directory, 'password');
  const { password, ...options } = nats.options('reader');
  writeFileSync(passwordFile, `${password}\n`);
  const bus = await connectBus({ ...options, passwordFile });
  rmSync(directory, { recursive: true });
  await nats.restart();
  await waitFor(() => bus.connects === 2, { what: 'the reconnect' });
  expect(bus.connected).toBe(true);
  await bus.close();
});

test('connect - an abort ends the wait for a connection', async () => {
  await using nats = await startNats();
  const bus = await nats.connect('reader');
  await nats.kill();
  await waitFor(() => !bus.connected);
  const end = new AbortController();
  const waiting = bus.whenConnected(end.signal);
  end.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  await expect(bus.whenConnected(end.signal)).rejects.toThrow('enough');
  await bus.drain();
});
