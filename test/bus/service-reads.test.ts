// The console and the evidence-log, two reachable services, read streams by the API of JetStream:
// nats-server from 2.11 on serves one direct get with many filters for seconds, while the stream can
// store nothing. The control sends it with the rights of the core, where it reaches the server.
import {
  type Bus,
  CORE,
  ensureTopology,
  getLastOf,
  getMessage,
  getNewest,
  getNextMessage,
  MAX_CONNECTIONS,
  type NatsUser,
  openBucket,
  streamInfo,
  violationSubject,
} from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { flood } from '../support/api-flood.ts';
import { readAll, startBus, startThree, text } from '../support/bus.ts';
import { headerBlock, RawNats } from '../support/raw-nats.ts';

const SERVICES = ['console', 'evidence-log'] as const;
const DIRECT = '$JS.API.DIRECT.GET.VERDICTS';
const GET = 'BUS.STREAM.MSG.GET.VERDICTS';
const FRAME = violationSubject('node-a', 'spoof');
const SUBJECTS = 1_000;
/** As many filters as fit into a message of a service. */
const MULTI = JSON.stringify({ multi_last: Array(4_000).fill('>'), batch: 1 });
/** No message matches it. */
const NONE = 'bailiff.v1.verdicts.*.*.*.none';
/** A verdict is stored within milliseconds; the control takes some seconds. */
const SLOW_MS = 1_000;

const inCore = (users: NatsUser[], name: string): NatsUser[] =>
  users.map((user) => {
    const permissions = { publish: { allow: ['>'] }, subscribe: { allow: ['>'] } };
    return user.user === name ? { ...user, account: CORE, permissions } : user;
  });

async function start(user: string, isConfined = true) {
  const users = testUsers(['node-a']);
  const nats = await startNats({ users: isConfined ? users : inCore(users, user) });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const raw = await RawNats.connect({ port: nats.port, user, password: `password-of-${user}` });
  const [, minor] = /^2\.(\d+)/.exec(admin.nc.info?.version ?? '') ?? [];
  let [verdicts, requests] = [0, 0];
  const store = async () => {
    const beganMs = performance.now();
    verdicts += 1;
    await admin.js.publish(`bailiff.v1.verdicts.high.beside.web-${verdicts}.id`, 'x', { timeout: 60_000 });
    return performance.now() - beganMs;
  };
  /** Sends a request. Resolves to its response and the longest time to store a verdict meanwhile. */
  const storeBeside = async (subject: string, body: string) => {
    const from = raw.received.length;
    requests += 1;
    const reply = `_INBOX_${user}.raw.${requests}`;
    raw.write(`SUB ${reply} ${requests + 1}\r\n`);
    raw.publish({ subject, body, reply });
    let longestMs = 0;
    while (!/MSG |-ERR/.test(raw.received.slice(from))) longestMs = Math.max(longestMs, await store());
    return { longestMs, response: raw.received.slice(from) };
  };
  return {
    nats,
    admin,
    storeBeside,
    hasBatches: Number(minor) >= 11,
    store,
    async fill(count: number) {
      for (let index = 0; index < count; index += 1) {
        verdicts += 1;
        admin.nc.publish(`bailiff.v1.verdicts.high.shop.web-${verdicts}.id`, 'x');
      }
      await admin.nc.flush();
      const stored = async () => (await streamInfo(admin, 'VERDICTS')).state.messages;
      await waitFor(async () => (await stored()) >= verdicts, { what: 'verdicts' });
    },
    async [Symbol.asyncDispose]() {
      await raw[Symbol.asyncDispose]();
      await nats.stop();
    },
  };
}

test.each(SERVICES)('service reads - %s cannot block a stream by the filters of a request', async (user) => {
  await using bus = await start(user);
  await bus.fill(SUBJECTS);
  for (const [subject, body, refusal] of [
    [DIRECT, MULTI, /Permissions Violation/],
    [`${DIRECT}.${NONE}`, '', /Permissions Violation/],
    [GET, MULTI, /"code":400/],
    [GET, JSON.stringify({ seq: 1, next_by_subj: NONE }), /"code":404/],
    [GET, JSON.stringify({ last_by_subj: NONE }), /"code":404/],
    // 2.10 knows no batches, and responds with one message.
    [GET, JSON.stringify({ seq: 1, batch: SUBJECTS, max_bytes: 1e9 }), bus.hasBatches ? /"code":400/ : /"seq":1,/],
  ] as const) {
    const { response, longestMs } = await bus.storeBeside(subject, body);
    expect(response, body.slice(0, 60)).toMatch(refusal);
    expect(longestMs, body.slice(0, 60)).toBeLessThan(SLOW_MS);
  }
  const { response } = await bus.storeBeside(GET, JSON.stringify({ seq: 2 }));
  expect(response).toContain('"seq":2,');
});

test.each(SERVICES)(
  'service reads - control: a direct get of %s that reaches the server blocks the stream',
  async (user) => {
    await using bus = await start(user, false);
    if (!bus.hasBatches) return;
    let [subjects, longestMs] = [0, 0];
    // A fast machine needs more subjects.
    const isSlow = async () => {
      subjects += SUBJECTS;
      await bus.fill(SUBJECTS);
      ({ longestMs } = await bus.storeBeside(DIRECT, MULTI));
      return longestMs > SLOW_MS;
    };
    await waitFor(isSlow, { what: 'a blocked stream', timeoutMs: 60_000, state: () => ({ subjects, longestMs }) });
  },
  90_000,
);

test('service reads - verdicts are stored beside a flood of the requests of the console that cost most', async () => {
  await using bus = await start('console');
  await bus.fill(SUBJECTS);
  const longest = async (stores: number) => {
    let longestMs = 0;
    for (let count = 0; count < stores; count += 1) longestMs = Math.max(longestMs, await bus.store());
    return longestMs;
  };
  const request = { subject: GET, body: JSON.stringify({ seq: 1, next_by_subj: NONE }) };
  // The account has one connection already.
  await using sending = await flood(bus.nats.port, 'console', request, (MAX_CONNECTIONS.CONSOLE as number) - 1);
  await waitFor(() => sending.received().includes('"code":404'), { what: 'responses' });
  expect(await longest(200)).toBeLessThan(SLOW_MS);
});

test.each([
  ['console', {}, 0],
  ['console', { deleted_details: true }, SUBJECTS],
  ['evidence-log', { deleted_details: true }, null],
] as const)(
  // The memory of the server that this takes grows with them, without a limit: docs/threat-model.md.
  'service reads - %s gets the state of a bucket by %j with %j overwritten revisions',
  async (user, body, listed) => {
    await using nats = await startBus();
    const admin = await nats.connect('admin');
    for (const node of ['gone', ...Array(SUBJECTS + 1).fill('node-a')])
      admin.nc.publish(`$KV.bailiff_nodes.${node}`, 'status');
    await admin.nc.flush();
    const stored = async () => (await streamInfo(admin, 'KV_bailiff_nodes')).state.last_seq;
    await waitFor(async () => (await stored()) === SUBJECTS + 2, { what: 'the revisions', state: stored });
    const requested = streamInfo(await nats.connect(user), 'KV_bailiff_nodes', body);
    if (listed === null) await expect(requested).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
    else expect((await requested).state.deleted ?? []).toHaveLength(listed);
  },
);

test.each(SERVICES)('service reads - a negative offset in a request of %s ends only servers of 2.10', async (user) => {
  await using bus = await start(user);
  await bus.fill(1);
  const client = await bus.nats.connect(user);
  const stateOf = (offset: number) => streamInfo(client, 'VERDICTS', { subjects_filter: '>', offset });
  await expect(stateOf(0)).resolves.toMatchObject({ state: { messages: 1 } });
  if (bus.hasBatches) return void (await expect(stateOf(-1)).resolves.toMatchObject({ state: { messages: 1 } }));
  // Fixed in 2.11.15 and 2.12.6: docs/install.md.
  await expect(stateOf(-1)).rejects.toThrow();
  await waitFor(() => bus.nats.log.includes('panic: runtime error: slice bounds out of range'));
});

test.each(SERVICES)('service reads - %s reads what a consumer delivers', async (user) => {
  await using nats = await startBus();
  const collector = await RawNats.connect({
    port: nats.port,
    user: 'collector-node-a',
    password: 'password-of-collector-node-a',
  });
  await collector.store({ subject: FRAME, body: 'without headers' });
  await collector.store({
    subject: FRAME,
    header: headerBlock('ce-id: 1', 'Ce-Id:2', 'ce-id: 3'),
    body: 'with headers',
  });
  await collector.store({ subject: FRAME, body: '' });
  await collector.store({ subject: FRAME, header: headerBlock('Nats-Stream: VERDICTS'), body: 'forged source' });
  await collector.store({ subject: FRAME, header: 'NATS/1.0 404 No Messages\r\n\r\n', body: '' });
  await collector.store({ subject: FRAME, header: headerBlock(`a: ${'x'.repeat(20_000)}`), body: 'long headers' });
  await collector.store({ subject: FRAME, body: 'x'.repeat(1_000_000) });
  await collector[Symbol.asyncDispose]();
  const content = async (by: string) =>
    (await readAll(await nats.connect(by), 'VIOLATIONS')).map(({ headers, data, pending, ...rest }) => ({
      ...rest,
      data: text({ data }),
      entries: headers?.entries(),
      stored: headers?.stored && Buffer.from(headers.stored).toString('latin1'),
    }));
  const read = await content(user);
  expect(read).toHaveLength(7);
  expect(read).toEqual(await content('correlator'));
});

test('service reads - the console reads single messages and keys, and finds none where there is none', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  for (const text of ['one', 'two']) await admin.js.publish(FRAME, text);
  await openBucket(admin, 'bailiff_pods').put('node-a', 'pods of a');
  const console_ = await nats.connect('console');
  expect(await getMessage(console_, 'VIOLATIONS', 1)).toMatchObject({ sequence: 1, subject: FRAME });
  expect(await getMessage(console_, 'VIOLATIONS', 3)).toBeNull();
  expect(await getNextMessage(console_, 'VIOLATIONS', 2, '>')).toMatchObject({ sequence: 2 });
  expect(await getNextMessage(console_, 'VIOLATIONS', 3, '>')).toBeNull();
  expect(await getNewest(console_, 'VIOLATIONS')).toMatchObject({ sequence: 2 });
  expect(await getNewest(console_, 'VERDICTS')).toBeNull();
  expect(await getLastOf(console_, 'VIOLATIONS', FRAME)).toMatchObject({ sequence: 2 });
  const pods = openBucket(console_, 'bailiff_pods');
  expect((await pods.get('node-a'))?.value.toString()).toBe('pods of a');
  expect(await pods.get('node-b')).toBeNull();
  expect((await pods.entries()).map(({ key }) => key)).toEqual(['node-a']);
  await openBucket(admin, 'bailiff_config').put('spoof.cluster._.default', '{}');
  const logged = 'bailiff.v1.config.spoof.cluster._.default';
  await waitFor(async () => (await getNewest(console_, 'CONFIG_LOG'))?.subject === logged);
  await admin.jsm.streams.delete('VERDICTS');
  await expect(getNewest(console_, 'VERDICTS')).rejects.toMatchObject({ code: 'BUS_NO_STREAM' });
});

test('service reads - the console takes no message of another stream for the requested one', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.js.publish(FRAME, 'a frame');
  await admin.js.publish('bailiff.v1.verdicts.high.shop.web.id', 'a verdict');
  const bus = await nats.connect('console');
  /** Its requests are replaced on the way, so that their responses are those of others. */
  const send: Bus['requests']['send'] = (subject, payload, options) =>
    bus.requests.send(subject.replace('VERDICTS', 'VIOLATIONS'), payload, options);
  const redirected = new Proxy(bus, {
    get: (target, name) => (name === 'requests' ? { send } : Reflect.get(target, name, target)),
  });
  expect(await getNextMessage(bus, 'VERDICTS', 1, '>'), 'control').toMatchObject({ sequence: 1 });
  await expect(getNextMessage(redirected, 'VERDICTS', 1, '>')).rejects.toMatchObject({ code: 'BUS_MESSAGE' });
});

test('service reads - the console reads a stream through each server of a cluster', async () => {
  await using cluster = await startThree();
  await cluster.admin.js.publish(FRAME, 'a frame');
  for (const server of [cluster.first, cluster.second]) {
    expect((await readAll(await server.connect('console'), 'VIOLATIONS')).map(text)).toEqual(['a frame']);
  }
}, 120_000);
