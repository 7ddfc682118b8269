// Pulls that a connector leaves behind with the subject of another connector's live subscription as
// reply subject: they wait in the consumer without an end, and take events. A restart of the server
// removes them, or a moment without a subscription, as docs/bus-credentials.md says for a stolen password.

import { ensureTopology } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { RawNats } from '../support/raw-nats.ts';

const LIVE = 'bailiff.v1.siem.ocsf.network-activity.shop';

test('a restart of the server removes the pulls that a connector left behind; the end of its connection does not', async () => {
  await using nats = await startNats();
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const waiting = async () => (await admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_waiting;
  const live = await nats.connect('siem-reader');
  live.nc.subscribe('bailiff.v1.siem.>', { callback: () => undefined });
  await live.nc.flush();
  const password = 'password-of-siem-reader';
  const thief = await RawNats.connect({ port: nats.port, user: 'siem-reader', password });
  thief.publish({ subject: 'BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', reply: LIVE, body: '{"batch":1000000}' });
  thief.publish({ subject: '$JS.ACK.SIEM.siem-ocsf.1.1.1.1.0', reply: LIVE, body: '+NXT 1000' });
  // The control: a pull without a subscriber of its reply subject ends with its connection.
  thief.publish({
    subject: 'BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf',
    reply: '_INBOX_siem-reader.raw',
    body: '{"batch":9}',
  });
  await thief.flush();
  await waitFor(async () => (await waiting()) === 3, { what: 'the pulls to wait', state: waiting });
  await thief[Symbol.asyncDispose]();
  await waitFor(async () => (await waiting()) === 2, { what: 'the control to end', state: waiting });
  await nats.restart();
  await admin.whenConnected();
  await waitFor(async () => (await waiting()) === 0, { what: 'no pull to wait', state: waiting });
});

test('they end without a restart when no connector is subscribed for a moment', async () => {
  await using nats = await startNats();
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const waiting = async () => (await admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_waiting;
  const connect = () => RawNats.connect({ port: nats.port, user: 'siem-reader', password: 'password-of-siem-reader' });
  const [live, thief] = [await connect(), await connect()];
  live.write('SUB bailiff.v1.siem.> 2\r\n');
  await live.flush();
  thief.publish({ subject: 'BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', reply: LIVE, body: '{"batch":1000000}' });
  thief.publish({ subject: '$JS.ACK.SIEM.siem-ocsf.1.1.1.1.0', reply: LIVE, body: '+NXT 1000' });
  await thief.flush();
  await thief[Symbol.asyncDispose]();
  // As above: the end of its connection does not end them.
  expect(await waiting()).toBe(2);
  await live[Symbol.asyncDispose]();
  await waitFor(async () => (await waiting()) === 0, { what: 'no pull to wait', state: waiting });
});
