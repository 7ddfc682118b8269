// The examples of docs, run unchanged over TLS while the passwords are rotated: those of docs/siem with the
// installed package, that of the tutorial with any NATS client.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, connectBus, ensureTopology } from '@bailiff/bus';
import { startNats, type TestNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { headers as createHeaders } from '@nats-io/nats-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { accessOf, tlsIn } from '../../apps/cli/src/operate/credentials/render.ts';
import { load } from '../../apps/cli/src/operate/credentials/store.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { respondWithConsumerState } from '../../apps/siem-relay/src/consumer-state.ts';
import { PackedConnector } from '../support/packed-connector.ts';
import type { RunningProcess } from '../support/process.ts';
import { startExample } from './example-script.ts';

const out = temporaryDirectory();
const passwordFile = (user: string) => path.join(out, 'users', `${user}.password`);
const caFile = path.join(out, 'ca.crt');
let nats: TestNats;
let packed: PackedConnector;
let relay: Bus;
let cli: Bus;
const failed: Error[] = [];

async function credentials(...args: string[]) {
  const { exitCode, stderr } = await runCli(['credentials', ...args, '--out', out]);
  expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
  return load(out);
}
const as = (user: string) =>
  connectBus({ servers: nats.url, user, passwordFile: passwordFile(user), name: `test-${user}`, tls: { caFile } });

beforeAll(async () => {
  packed = await PackedConnector.install();
  nats = await startNats({ ...accessOf(await credentials('init')), tls: tlsIn(out) });
  const admin = await as('admin');
  await ensureTopology(admin);
  await admin.close();
  relay = await as('siem-relay');
  respondWithConsumerState(
    relay,
    () => performance.now(),
    (error) => failed.push(error),
  );
  cli = await as('cli');
}, 60_000);
afterAll(async () => {
  expect(failed).toEqual([]);
  await relay?.close();
  await cli?.close();
  await nats?.stop();
  packed?.[Symbol.dispose]();
});

let events = 0;
/** Publishes one more event for connectors, and one more message of a replay. @returns its name */
async function report(): Promise<string> {
  events += 1;
  const uid = `event-${events}`;
  const event = { severity: 'High', class_name: 'Network Activity', metadata: { uid }, message: 'x' };
  const headers = createHeaders();
  headers.set('Bailiff-Uid', uid);
  await relay.js.publish('bailiff.v1.siem.ocsf.network-activity.shop', JSON.stringify(event), { msgID: uid, headers });
  cli.nc.publish(`bailiff.v1.replay.try.${uid}`, 'x');
  await cli.nc.flush();
  return uid;
}

const EXAMPLES: { file: string; user: string; args: string[] }[] = [
  { file: 'connector.mjs', user: 'siem-reader', args: [] },
  { file: 'connector-durable.mjs', user: 'siem-reader', args: [] },
  { file: 'tutorial/listen.mjs', user: 'reader', args: ['bailiff.v1.replay.try.>'] },
];
const start = ({ file, user, args }: (typeof EXAMPLES)[number], more: Record<string, string> = {}) => {
  const url = nats.url.replace('nats:', 'tls:');
  const env = { NATS_URL: url, NATS_CA_FILE: caFile, NATS_PASSWORD_FILE: passwordFile(user), ...more };
  return user === 'siem-reader' ? packed.start(file, env, args) : startExample(file, env, args);
};
/** Waits until it receives a new message. Publishes more, because it may not be subscribed yet. */
const receives = (example: RunningProcess, what: string) => {
  const reported: string[] = [];
  const received = async () => {
    reported.push(await report());
    return reported.some((uid) => new RegExp(`${uid}\\b`).test(example.stdout()));
  };
  return waitFor(received, {
    what,
    intervalMs: 100,
    state: () => [example.out(), nats.log.slice(-500)],
  });
};

it.each(EXAMPLES)('$file - needs the authority that signed the certificate', async (example) => {
  await using stranger = start(example, { NATS_CA_FILE: '' });
  const [code] = await stranger.exit;
  expect(code).not.toBe(0);
  expect(stranger.stderr()).toMatch(/certificate|self[- ]signed/i);
  await using trusting = start(example);
  await receives(trusting, 'a message');
});

it('rotation - connectors started before, during and after it keep receiving', async () => {
  const running: RunningProcess[] = EXAMPLES.map((example) => start(example));
  try {
    for (const one of running) await receives(one, 'a message before');
    const prepared = await credentials('rotate');
    expect(prepared.users['siem-reader']?.passwords).toHaveLength(2);
    // The servers do not have the first password of the file yet.
    for (const example of EXAMPLES) running.push(start(example));
    for (const one of running) await receives(one, 'a message with two passwords');
    const finished = await credentials('rotate', '--finish');
    await nats.reload({ ...accessOf(finished) });
    for (const one of running) await receives(one, 'a message after the reload');
    for (const one of running) expect([one.child.exitCode, one.stderr()]).toEqual([null, '']);
  } finally {
    await Promise.all(running.map((one) => one[Symbol.asyncDispose]()));
  }
}, 120_000);

it.each(EXAMPLES)('$file - a wrong password ends it', async (example) => {
  const file = path.join(out, 'wrong.password');
  writeFileSync(file, 'guessed\nonce more\n');
  await using wrong = start(example, { NATS_PASSWORD_FILE: file });
  await wrong.exit;
  expect(wrong.stderr()).toMatch(/authorization violation/i);
});
