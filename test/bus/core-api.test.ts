// What docs/threat-model.md leaves open for the identities of the core account: a request names a request
// to the API of JetStream as its reply subject, and a message of the identity becomes its body. The control
// is the console, whose reply subjects lie in its own account.
import { ensureTopology, streamInfo } from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { readAll, text } from '../support/bus.ts';
import { RawNats } from '../support/raw-nats.ts';

/** Where an identity may store, in which stream, and a stream in which it may not store. */
const OWN = [
  ['correlator', 'bailiff.v1.deadletters.violations', 'DEAD_LETTERS', 'RESPONSES', 'bailiff.v1.responses.delete'],
  ['responder', 'bailiff.v1.responses', 'RESPONSES', 'VERDICTS', 'bailiff.v1.verdicts.high'],
  ['ipam-sync', '$KV.bailiff_config.spoof', 'KV_bailiff_config', 'VERDICTS', 'bailiff.v1.verdicts.high'],
  ['siem-relay', 'bailiff.v1.siem', 'SIEM', 'VERDICTS', 'bailiff.v1.verdicts.high'],
  ['siem-relay', 'bailiff.v1.siem', 'SIEM', 'KV_bailiff_config', '$KV.bailiff_config.disarm.node'],
] as const;

test.each(OWN)(
  'core - %s changes streams: what it stores under %s of %s, %s has',
  async (user, own, from, to, dest) => {
    await using nats = await startNats({ users: testUsers([]) });
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    const { config, created } = await streamInfo(admin, to);
    await using raw = await RawNats.connect({ port: nats.port, user, password: `password-of-${user}` });
    const sources = [{ name: from, subject_transforms: [{ src: `${own}.x.>`, dest: `${dest}.>` }] }];
    const stored = { subject: `${own}.api`, body: JSON.stringify({ ...config, max_msg_size: -1, sources }) };
    // Without a limit of size, because a bucket takes nothing from a stream with a higher one.
    raw.publish(stored);
    const query = JSON.stringify({ last_by_subj: stored.subject });
    raw.publish({ subject: `$JS.API.DIRECT.GET.${from}`, body: query, reply: `$JS.API.STREAM.UPDATE.${to}` });
    raw.publish({ subject: `${own}.x.shop.web-0.id`, body: 'forged' });
    const read = async () => readAll(await nats.connect('responder'), to);
    await waitFor(async () => (await read()).length > 0, { what: 'the message' });
    const [message] = await read();
    expect(message).toMatchObject({ subject: `${dest}.shop.web-0.id`, injected: false });
    expect([text(message ?? {}), (await streamInfo(admin, to)).created]).toEqual(['forged', created]);
    expect((await ensureTopology(admin)).changed).toEqual([to]);
  },
);

test('core - control: the console, which may request messages, changes no stream', async () => {
  await using nats = await startNats({ users: testUsers([]) });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const { config } = await streamInfo(admin, 'VERDICTS');
  await admin.js.publish('bailiff.v1.siem.api', JSON.stringify({ ...config, sources: [{ name: 'SIEM' }] }));
  await using raw = await RawNats.connect({ port: nats.port, user: 'console', password: 'password-of-console' });
  for (const subject of ['$JS.API.DIRECT.GET.SIEM', 'BUS.STREAM.MSG.GET.VERDICTS'])
    raw.publish({ subject, body: '{"last_by_subj":">"}', reply: '$JS.API.STREAM.UPDATE.VERDICTS' });
  await raw.flush();
  expect((await ensureTopology(admin)).changed).toEqual([]);
});
