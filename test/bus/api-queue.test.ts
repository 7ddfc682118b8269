// A node that sends requests without pause. Requests about a stream pass a queue of the server that
// all clients share, and the proof that the configuration was read needs one: without it no frame
// is judged. A node credential may therefore send no such request. Direct gets do not pass the
// queue.
import {
  CORE,
  ensureTopology,
  latestStream,
  type NatsUser,
  NODE_ROLES,
  oneAccountPermissionsFor,
  openBucket,
  permissionsFor,
  streamInfo,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { flood } from '../support/api-flood.ts';
import { followConfig } from '../support/config-log.ts';

const NODE = 'collector-node-a';
const STATE = '$JS.API.STREAM.INFO.KV_bailiff_config';
const KEYS = 500;
const REQUESTS = 50;
/** The server responds within milliseconds, on a busy machine within a tenth of this. */
const SLOW_MS = 1_000;

async function start(users: NatsUser[]): Promise<TestNats> {
  const nats = await startNats({ users });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const bucket = openBucket(admin, 'bailiff_config');
  for (let key = 0; key < KEYS; key += 1) await bucket.put(`runtime.namespace.ns-${key}.p`, '{}');
  return nats;
}

/** How long requests of the correlator take, one after the other. @returns after `enough` */
async function measure(nats: TestNats, enough: (times: readonly number[]) => boolean): Promise<number[]> {
  const correlator = await nats.connect('correlator', { timeoutMs: 2 * SLOW_MS });
  const times: number[] = [];
  const once = async () => {
    const beganMs = performance.now();
    // A request that the server drops counts as a slow one.
    await streamInfo(correlator, 'CONFIG_LOG').catch(({ code }) => expect(code).toBe('BUS_TIMEOUT'));
    times.push(performance.now() - beganMs);
    return enough(times);
  };
  await waitFor(once, { what: 'enough requests', intervalMs: 10, timeoutMs: 30_000, state: () => times });
  return times.toSorted((a, b) => a - b);
}

test('control: with the right to ask for the state of a stream, a node holds up the requests of all', async () => {
  const users = testUsers(['node-a']).map((user) => {
    const allow = [...user.permissions.publish.allow, STATE];
    const may: NatsUser = { ...user, account: CORE, permissions: { ...user.permissions, publish: { allow } } };
    return user.user === NODE ? may : user;
  });
  await using nats = await start(users);
  await using flooding = await flood(nats.port, NODE, { subject: STATE });
  const times = await measure(nats, (found) => found.some((ms) => ms > SLOW_MS));
  expect(times.at(-1)).toBeGreaterThan(SLOW_MS);
  expect(flooding.received()).not.toContain('Permissions Violation');
});

test.each([
  ['the state of a stream, which is refused', STATE, ''],
  ['the configuration', `$JS.API.DIRECT.GET.${latestStream('bailiff_config')}`, '{"seq":1}'],
])(
  'a node that asks without pause for %s does not hold up the requests of others',
  async (_, subject, body) => {
    await using nats = await start(testUsers(['node-a']));
    await using flooding = await flood(nats.port, NODE, { subject, body });
    const { log } = followConfig(await nats.connect('correlator'));
    const times = await measure(nats, ({ length }) => length === REQUESTS);
    expect(times[REQUESTS / 2]).toBeLessThan(SLOW_MS);
    await log.whenCompleteTo(Date.now() * 1000);
    await log.close();
    expect(flooding.received().includes('Permissions Violation')).toBe(subject === STATE);
  },
  60_000,
);

test('a node may send direct gets of copies, its frames and its status, and nothing else', () => {
  for (const role of NODE_ROLES) {
    for (const subject of permissionsFor({ role, node: 'node-a' }).publish.allow)
      expect(subject).toMatch(
        /^(\$JS\.API\.DIRECT\.GET\.LATEST_|bailiff\.v1\.violations\.\d+\.node-a\.|\$KV\.bailiff_nodes\.node-a$)/,
      );
    expect(oneAccountPermissionsFor({ role, node: 'node-a' })).toEqual(permissionsFor({ role, node: 'node-a' }));
  }
});
