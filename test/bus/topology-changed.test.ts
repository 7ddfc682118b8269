// Setting up an existing bus again, as at every upgrade: it keeps the operator's values and deletes
// nothing without consent.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  apiRequest,
  type Bus,
  consumerConfigs,
  deleteConfig,
  ensureTopology,
  readConfig,
  streamConfigs,
  streamInfo,
  writeConfig,
} from '@bailiff/bus';
import { startNats, type TestNats } from '@bailiff/bus/testing';
import { TUNABLE_VECTORS } from '@bailiff/policy';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { DiscardPolicy } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { readAll, startBus, startThree } from '../support/bus.ts';
import { RawNats } from '../support/raw-nats.ts';

const DAY_MS = 86_400_000;
const MIB = 1024 ** 2;
const SUBJECT = 'bailiff.v1.violations.0.node-a.spoof';

async function limits(bus: Bus) {
  const { config } = await streamInfo(bus, 'VIOLATIONS');
  return { days: config.max_age / 1e6 / DAY_MS, bytes: config.max_bytes, replicas: config.num_replicas };
}

const publish = async (bus: Bus, count: number, bytes = 10) => {
  for (let n = 0; n < count; n += 1) await bus.js.publish(SUBJECT, new Uint8Array(bytes));
};

test('topology - chosen values stay when setup runs without them, and grow on request', async () => {
  await using nats = await startBus({ violationsMaxAgeMs: 30 * DAY_MS, violationsMaxBytes: 64 * MIB });
  const admin = await nats.connect('admin');
  expect(await ensureTopology(admin)).toMatchObject({ created: [], changed: [], losses: [] });
  expect(await limits(admin)).toEqual({ days: 30, bytes: 64 * MIB, replicas: 1 });
  const grown = await ensureTopology(admin, { violationsMaxBytes: 128 * MIB });
  expect(grown).toMatchObject({ changed: ['VIOLATIONS'], losses: [] });
  expect(await limits(admin)).toEqual({ days: 30, bytes: 128 * MIB, replicas: 1 });
});

test('topology - a number of keys that an operator raised stays, and the copy gets room for them', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.jsm.streams.update('KV_bailiff_quarantine', { max_msgs: 300_000 });
  const roomBefore = (await streamInfo(admin, 'LATEST_bailiff_quarantine')).config.max_bytes;
  expect((await ensureTopology(admin)).changed).toEqual(['LATEST_bailiff_quarantine']);
  expect((await streamInfo(admin, 'KV_bailiff_quarantine')).config.max_msgs).toBe(300_000);
  expect((await streamInfo(admin, 'LATEST_bailiff_quarantine')).config.max_bytes).toBeGreaterThan(roomBefore);
});

test('topology - a bus of an earlier version gets in place what keeps one tenant from filling it', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const former = { discard: DiscardPolicy.New, max_msgs: -1 };
  for (const name of ['VERDICTS', 'RESPONSES']) await admin.jsm.streams.update(name, former);
  await admin.jsm.streams.update('KV_bailiff_nodes', { max_age: 0 });
  await admin.js.publish('bailiff.v1.verdicts.high.shop.web.1', new Uint8Array(10));
  const { changed, losses } = await ensureTopology(admin);
  expect([changed.sort(), losses]).toEqual([['KV_bailiff_nodes', 'RESPONSES', 'VERDICTS'], []]);
  const configOf = async (name: string) => (await streamInfo(admin, name)).config;
  expect(await configOf('VERDICTS')).toMatchObject({ discard: 'old', max_msgs: 250_000 });
  expect(await configOf('RESPONSES')).toMatchObject({ discard: 'old', max_msgs: 500_000 });
  expect((await configOf('KV_bailiff_nodes')).max_age).toBe(30 * DAY_MS * 1e6);
  expect((await streamInfo(admin, 'VERDICTS')).state.messages).toBe(1);
  // A number that an operator has chosen stays.
  await admin.jsm.streams.update('VERDICTS', { max_msgs: 1_000_000 });
  expect((await ensureTopology(admin)).changed).toEqual([]);
});

test.each([
  ['VERDICTS', { sources: [{ name: 'SIEM' }] }],
  ['VERDICTS', { subject_transform: { src: 'bailiff.v1.verdicts.>', dest: 'bailiff.v1.verdicts.high.>' } }],
  ['VERDICTS', { republish: { src: '>', dest: 'elsewhere.>' } }],
  ['VERDICTS', { consumer_limits: { max_ack_pending: 1 } }],
  ['VERDICTS', { no_ack: true }],
  ['VIOLATIONS', { max_msgs: 1 }],
  ['VIOLATIONS', { max_msgs_per_subject: 1 }],
  ['KV_bailiff_config', { max_age: 3_600_000_000_000 }],
  ['CONFIG_LOG', { subjects: ['elsewhere.>'] }],
  ['LATEST_bailiff_pods', { subjects: ['elsewhere.>'] }],
] as const)('topology - setup resets what another client changed in %s: %j', async (stream, change) => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const config = async () => (await streamInfo(admin, stream)).config;
  const before = await config();
  await apiRequest(admin, `$JS.API.STREAM.UPDATE.${stream}`, { ...before, ...change });
  expect(await config(), 'control').toMatchObject(change);
  expect((await ensureTopology(admin)).changed).toEqual([stream]);
  expect(await config()).toEqual(before);
  expect((await ensureTopology(admin)).changed).toEqual([]);
});

test('topology - a stream that another client sealed for good is an error', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const { config } = await streamInfo(admin, 'VERDICTS');
  await apiRequest(admin, '$JS.API.STREAM.UPDATE.VERDICTS', { ...config, sealed: true });
  await expect(ensureTopology(admin)).rejects.toMatchObject({ code: 'BUS_TOPOLOGY', message: /^VERDICTS .*seal/ });
});

test('topology - a copy with less room than its bucket gets back the keys that it deleted', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const copy = 'LATEST_bailiff_quarantine';
  const keysOf = async () => (await streamInfo(admin, copy)).state.messages;
  await admin.jsm.streams.update(copy, { max_bytes: 100_000 });
  for (let n = 0; n < 20; n += 1) await admin.js.publish(`$KV.bailiff_quarantine.node-${n}`, new Uint8Array(20_000));
  await waitFor(async () => (await streamInfo(admin, copy)).state.last_seq === 20, { what: 'the copy' });
  expect(await keysOf(), 'control: it lacks some').toBeLessThan(10);
  expect((await ensureTopology(admin)).created).toEqual([copy]);
  await waitFor(async () => (await keysOf()) === 20, { what: 'all keys' });
  expect((await ensureTopology(admin)).created).toEqual([]);
});

test('topology - setup resumes a consumer that another client paused; control: creating it again does not', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  // From 2.11 on.
  if (/^2\.10\./.test(admin.nc.info?.version ?? '')) return;
  const [{ stream, config }] = consumerConfigs() as [ReturnType<typeof consumerConfigs>[number]];
  const name = config.durable_name;
  const isPaused = async () => (await admin.jsm.consumers.info(stream, name)).paused ?? false;
  await using raw = await RawNats.connect({ port: nats.port, user: 'siem-relay', password: 'password-of-siem-relay' });
  const stored = { subject: 'bailiff.v1.siem.api', body: '{"pause_until":"2200-01-01T00:00:00Z"}' };
  raw.publish(stored);
  const query = JSON.stringify({ last_by_subj: stored.subject });
  raw.publish({ subject: '$JS.API.DIRECT.GET.SIEM', body: query, reply: `$JS.API.CONSUMER.PAUSE.${stream}.${name}` });
  await waitFor(isPaused, { what: 'the pause' });
  const create = `$JS.API.CONSUMER.CREATE.${stream}.${name}.${config.filter_subject}`;
  await apiRequest(admin, create, { stream_name: stream, config });
  expect(await isPaused(), 'control').toBe(true);
  await ensureTopology(admin);
  expect(await isPaused()).toBe(false);
});

test('topology - fewer bytes are rejected with what would be deleted, and applied with shrink', async () => {
  await using nats = await startBus({ violationsMaxBytes: MIB });
  const admin = await nats.connect('admin');
  await publish(admin, 40, 10_000);
  const less = { violationsMaxBytes: MIB / 4 };
  await expect(ensureTopology(admin, less)).rejects.toMatchObject({
    code: 'BUS_SHRINK',
    message: expect.stringMatching(
      /^nothing was changed, .*\nVIOLATIONS: up to 256 KiB, not 1 MiB: it holds 39\d(\.\d)? KiB, the oldest 13\d(\.\d)? KiB are deleted$/,
    ),
  });
  expect((await streamInfo(admin, 'VIOLATIONS')).state.messages).toBe(40);
  const { losses, changed } = await ensureTopology(admin, { ...less, shrink: true });
  expect([losses.length, changed]).toEqual([1, ['VIOLATIONS']]);
  const { state } = await streamInfo(admin, 'VIOLATIONS');
  expect([state.last_seq, state.bytes <= MIB / 4, state.messages > 20]).toEqual([40, true, true]);
});

test('topology - a shorter age is rejected with the number of older messages, and deletes them with shrink', async () => {
  const ageMs = 4_000;
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await publish(admin, 3);
  const newestMs = async () => {
    const { ts, state } = await streamInfo(admin, 'VIOLATIONS');
    return Date.parse(ts ?? '') - Date.parse(state.last_ts);
  };
  await waitFor(async () => (await newestMs()) > ageMs, { what: 'three to be old', state: newestMs });
  await publish(admin, 2);
  const refusal = async () => {
    const refused = await ensureTopology(admin, { violationsMaxAgeMs: ageMs }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'BUS_SHRINK' });
    return String((refused as Error).message)
      .split('\n')
      .slice(1);
  };
  /** The number of older messages, by the bus's clock. */
  const older = async () => {
    const { ts } = await streamInfo(admin, 'VIOLATIONS');
    const sinceMicros = (Date.parse(ts ?? '') - ageMs) * 1_000;
    return (await readAll(admin, 'VIOLATIONS')).filter(({ timestampMicros }) => timestampMicros < sinceMicros).length;
  };
  const before = await older();
  const [violations, ...others] = await refusal();
  // If the machine was suspended, the other two are old by now.
  expect([before, await older()]).toContain(
    Number(
      /^VIOLATIONS: kept 4 seconds, not 7 days: of 5 messages (\d) are older and are deleted$/.exec(violations!)?.[1],
    ),
  );
  expect(before).toBeGreaterThanOrEqual(3);
  expect(others).toEqual([
    expect.stringMatching(/^VERDICTS: kept .*: of 0 messages none is older now$/),
    expect.stringMatching(/^RESPONSES: /),
    expect.stringMatching(/^DEAD_LETTERS: /),
  ]);
  // Neither the check nor the refusal created or deleted anything.
  const consumers = async () => (await streamInfo(admin, 'VIOLATIONS')).state.consumer_count;
  // An ordered consumer is deleted without waiting for the response.
  await waitFor(async () => (await consumers()) === 0, { what: 'the consumers to be deleted', state: consumers });
  const { state } = await streamInfo(admin, 'VIOLATIONS');
  expect([state.messages, (await limits(admin)).days]).toEqual([5, 7]);
  await ensureTopology(admin, { violationsMaxAgeMs: ageMs, shrink: true });
  await waitFor(async () => (await streamInfo(admin, 'VIOLATIONS')).state.first_seq > 3, { what: 'the old to go' });
});

test('topology - replicas stay at three when the option is omitted', async () => {
  await using servers = await startThree();
  const { admin } = servers;
  await ensureTopology(admin);
  expect((await limits(admin)).replicas).toBe(3);
  const count = streamConfigs().length;
  await expect(ensureTopology(admin, { replicas: 1 })).rejects.toMatchObject({
    code: 'BUS_SHRINK',
    message: expect.stringContaining(`${count} streams and buckets: kept by one server, not 3`),
  });
  expect((await limits(admin)).replicas).toBe(3);
  await ensureTopology(admin, { replicas: 1, shrink: true });
  expect((await limits(admin)).replicas).toBe(1);
}, 120_000);

test('topology - servers without enough space reject it with a remedy', async () => {
  await using nats = await startNats({ jetstream: { maxFileBytes: 11 * 1024 * MIB } });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  await expect(ensureTopology(admin, { violationsMaxBytes: 8 * 1024 * MIB })).rejects.toMatchObject({
    code: 'BUS_FULL',
    message: expect.stringMatching(/^VIOLATIONS: the servers have no room for its 8 GiB: raise max_file_store/),
  });
});

const withSetup = async (
  work: (nats: TestNats, setup: (...args: string[]) => ReturnType<typeof runCli>) => Promise<void>,
) => {
  await using nats = await startNats();
  const directory = temporaryDirectory();
  const password = path.join(directory, 'password');
  writeFileSync(password, 'password-of-admin\n');
  const who = ['--nats-url', nats.url, '--nats-user', 'admin', '--nats-password-file', password];
  await work(nats, (...args) => runCli(['bus', 'setup', ...who, ...args]));
};

test('bus setup --initial-mode audit - audits every vector of a new cluster, and never changes a policy', () =>
  withSetup(async (nats, setup) => {
    const key = 'spoof.cluster._.default';
    expect((await setup()).exitCode).toBe(0);
    const admin = await nats.connect('admin');
    expect(await readConfig(admin, key)).toBeNull();
    const { exitCode, stdout } = await setup('--initial-mode', 'audit');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining(`${key}: every vector is audited`)]);
    const stored = await readConfig(admin, key);
    const { modes } = JSON.parse(stored?.json ?? '') as { modes: Record<string, string> };
    expect([stored?.released, [...Object.keys(modes)].sort(), new Set(Object.values(modes))]).toEqual([
      true,
      [...TUNABLE_VECTORS].sort(),
      new Set(['audit']),
    ]);
    const options = { by: 'ben', why: 'enough seen' };
    await writeConfig(admin, key, { modes: {} }, options);
    expect((await setup('--initial-mode', 'audit')).stdout).not.toContain('audited');
    expect(JSON.parse((await readConfig(admin, key))?.json ?? '')).toMatchObject({ modes: {} });
    await deleteConfig(admin, key, options);
    expect((await setup('--initial-mode', 'audit')).exitCode).toBe(0);
    expect((await readConfig(admin, key))?.deleted ?? true).toBe(true);
  }));

test('bus setup - the command reports what it keeps, grows, rejects and shrinks', async () => {
  await withSetup(async (nats, setup) => {
    const words = (limits: string) => `violations are retained for ${limits}; verdicts and responses as long as`;
    const first = await setup('--keep-days', '30', '--keep-bytes', '64MiB', '--replicas', '');
    expect([first.exitCode, first.stdout]).toEqual([0, expect.stringContaining(words('30 days, up to 64 MiB'))]);
    for (const again of [await setup(), await setup('--keep-days', '', '--keep-bytes', '', '--replicas', '1')])
      expect([again.exitCode, again.stdout]).toEqual([0, first.stdout]);
    const less = await setup('--keep-days', '7');
    expect([less.exitCode, less.stdout]).toEqual([2, '']);
    expect(less.stderr).toMatch(
      /^bailiff: nothing was changed, because limits would decrease:\n {2}VIOLATIONS: kept 7 days/,
    );
    expect(less.stderr).toContain('--shrink');
    expect(await limits(await nats.connect('admin'))).toMatchObject({ days: 30 });
    const shrunk = await setup('--keep-days', '7', '--shrink');
    expect([shrunk.exitCode, shrunk.stdout]).toEqual([0, expect.stringContaining(words('7 days, up to 64 MiB'))]);
    expect(shrunk.stdout).toContain('VIOLATIONS: kept 7 days, not 30 days: of 0 messages none is older now');
    for (const wrong of ['4', '1.5GiB', '-1', '9999TiB', '20 GB']) {
      const { exitCode, stderr } = await setup('--keep-bytes', wrong);
      expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/--keep-bytes.*such as 20GiB: 16 MiB to 1 PiB/s)]);
    }
  });
});
