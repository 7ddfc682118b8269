// A bus of an earlier version, whose identities share one account, moves to accounts. It keeps its
// credentials and store, and earlier clients work until `rotate --finish`.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, connectBus, consumeOrdered, ensureTopology, openBucket, streamInfo } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { jetstream } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { accessOf, tlsIn } from '../../apps/cli/src/operate/credentials/render.ts';
import { load } from '../../apps/cli/src/operate/credentials/store.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { respondWithConsumerState } from '../../apps/siem-relay/src/consumer-state.ts';

const out = temporaryDirectory();

async function credentials(...args: string[]): Promise<string> {
  const { exitCode, stderr } = await runCli(['credentials', ...args, '--out', out]);
  expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
  return stderr;
}
const access = async () => accessOf(await load(out));
const passwords = (user: string) => readFileSync(path.join(out, 'users', `${user}.password`), 'utf8').split('\n');

/** Writes the file as earlier versions wrote it. */
function forgetAccounts(): void {
  const file = path.join(out, 'credentials.json');
  const { accounts: _, ...earlier } = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify(earlier));
}

/** Reads one event of the durable consumer, under an API prefix. @returns its text, or the error */
async function nextEvent(bus: Bus, apiPrefix: string): Promise<string> {
  try {
    const js = jetstream(bus.nc, { apiPrefix, checkAPI: false, timeout: 2_000 });
    const message = await (await js.consumers.get('SIEM', 'siem-ocsf')).next({ expires: 2_000 });
    message?.ack();
    return message?.string() ?? 'none';
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

test('accounts - a rotation separates a bus of an earlier version; its streams stay, and clients work until the end', async () => {
  await credentials('init');
  forgetAccounts();
  await credentials('render');
  await using nats = await startNats({ ...(await access()), tls: tlsIn(out) });
  const as = (user: string, password = passwords(user)[0] as string) =>
    connectBus({ servers: nats.url, user, password, name: 'test', tls: { caFile: path.join(out, 'ca.crt') } });
  const admin = await as('admin');
  await ensureTopology(admin);
  for (const event of ['one', 'two', 'three', 'four']) {
    await admin.js.publish('bailiff.v1.siem.ocsf.network-activity.shop', event);
  }
  await openBucket(admin, 'bailiff_config').put('spoof.cluster._.default', '{"revision":1}');
  const old = passwords('siem-reader')[0] as string;
  const connector = await as('siem-reader', old);
  expect(await nextEvent(connector, '$JS.API')).toBe('one');
  const early = await as('cli');
  await expect(streamInfo(early, 'VIOLATIONS')).rejects.toMatchObject({
    code: 'BUS_PERMISSION',
    message: expect.stringContaining('credentials show'),
  });
  expect((await credentials('show')) + (await runCli(['credentials', 'show', '--out', out])).stdout).toContain(
    'one for all users',
  );

  // First step: the servers get the accounts, still without users.
  expect(await credentials('rotate')).toContain('reload each server, which creates the accounts');
  await nats.reload(await access());
  const again = await as('siem-reader', old);
  expect(await nextEvent(again, '$JS.API')).toBe('two');
  await credentials('rotate', '--abort');
  expect((await load(out)).accounts).toBeUndefined();
  await credentials('rotate');

  // Second step: the users move.
  await credentials('rotate', '--finish');
  await nats.reload(await access());
  await waitFor(() => !again.connected, { what: 'the old connection to end' });
  await expect(as('siem-reader', old)).rejects.toMatchObject({ code: 'BUS_AUTHENTICATION' });
  const moved = await as('siem-reader');
  expect(await nextEvent(moved, '$JS.API')).toContain('refused');
  const relay = await as('siem-relay');
  const stopResponding = respondWithConsumerState(
    relay,
    () => performance.now(),
    (error) => expect.fail(error.message),
  );
  // A server that reloads enables JetStream in an account after it admits the account's users.
  let third = '';
  await waitFor(
    async () => {
      third = await nextEvent(moved, 'BUS');
      return third !== 'refused: jetstream is not enabled';
    },
    { what: 'JetStream in the account of the streams', state: () => third },
  );
  expect(third).toBe('three');
  await stopResponding();
  const cli = await as('cli');
  expect((await openBucket(cli, 'bailiff_config').get('spoof.cluster._.default'))?.value.toString()).toBe(
    '{"revision":1}',
  );
  expect((await streamInfo(cli, 'VIOLATIONS')).config.name).toBe('VIOLATIONS');
  const seen: string[] = [];
  const end = new AbortController();
  await consumeOrdered(relay, 'SIEM', {
    start: 'all',
    onMessage: ({ data }) => void seen.push(Buffer.from(data).toString()),
    onIdle: () => end.abort(),
    signal: end.signal,
  });
  expect(seen).toEqual(['one', 'two', 'three', 'four']);
  expect((await runCli(['credentials', 'show', '--out', out])).stdout).toContain('by identity');
  await Promise.all([admin, connector, early, again, moved, cli, relay].map((bus) => bus.close()));
}, 60_000);
