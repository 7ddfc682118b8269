// Changes that JetStream makes on behalf of an identity: see rights.ts. The control gives the same
// rights in one account. There, the server's responses are stored in streams that the identity may
// not write.
import { ensureTopology, type Identity, respondToReads, userOf } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { describe, expect, test } from 'vitest';
import { startThree } from '../support/bus.ts';
import { inOneAccount, NODES, OUTSIDE, seed, tryEverything } from './rights.ts';

async function startSeeded(users = testUsers(NODES)): Promise<TestNats> {
  const nats = await startNats({ users });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  await seed(admin);
  // Every request of a reader passes, without the limit of its rate.
  respondToReads(await nats.connect('siem-relay'), () => performance.now(), console.error, 1_000_000);
  return nats;
}

describe.each(OUTSIDE.map((identity) => [userOf(identity), identity] as const))('rights - %s', (user, identity) => {
  test('changes nothing beyond its list, whatever reply subject, body or header it sends', async () => {
    await using nats = await startSeeded();
    const { attempts, unexpected } = await tryEverything(nats, await nats.connect(user), identity);
    expect(unexpected).toEqual([]);
    expect(attempts).toBeGreaterThan(1_000);
  }, 120_000);
});

const CONTROLS: [Identity, RegExp][] = [
  [{ role: 'collector', node: 'node-a' }, /^new: message KV_bailiff_config/],
  // Which of its pulls gets the only event decides where that lands.
  [
    { role: 'siem-reader' },
    /^(new: message VERDICTS|gone or changed: (stream RESPONSES|message KV_)|push-node-b received)/,
  ],
];
test.each(CONTROLS)('rights - control: in one account, the attempts of %j land', async (identity, landed) => {
  await using nats = await startSeeded(inOneAccount(testUsers(NODES)));
  const { unexpected } = await tryEverything(nats, await nats.connect(userOf(identity)), identity);
  expect(
    unexpected.some((change) => landed.test(change)),
    unexpected.join('\n'),
  ).toBe(true);
});

test.each<Identity>([{ role: 'collector', node: 'node-a' }, { role: 'siem-reader' }])(
  'rights - %j changes nothing on three servers, connected to another than the leader of the streams',
  async (identity) => {
    await using servers = await startThree({ users: testUsers(NODES) });
    const { first, second, admin } = servers;
    await seed(admin);
    const { unexpected } = await tryEverything(first, await second.connect(userOf(identity)), identity);
    expect(unexpected).toEqual([]);
  },
  120_000,
);
