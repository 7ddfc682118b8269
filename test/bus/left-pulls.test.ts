// Pulls that a connector leaves behind with the subject of another connector's live subscription as
// reply subject: they wait in the consumer without an end, and take events. A restart of the server
// removes them, or a moment without a subscription, as docs/bus-credentials.md says for a stolen password.
// Events that it delays by years count as delivered, so the consumer delivers no further ones: only another
// consumer does.

import { consumerConfigs, ensureTopology, SIEM_MAX_ACK_PENDING, SIEM_MAX_PULL_MS } from '@bailiff/bus';
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

/** What a pull responds: an event, or a status without one. */
async function pullOne(raw: RawNats): Promise<string> {
  const from = raw.received.length;
  const expires = 500_000_000;
  raw.publish({
    subject: 'BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf',
    reply: '_INBOX_siem-reader.raw',
    body: JSON.stringify({ batch: 1, expires }),
  });
  const response = () => /event \d+|NATS\/1\.0 \d+[^\r]*/.exec(raw.received.slice(from))?.[0];
  await waitFor(() => response() !== undefined, { what: 'a response to a pull' });
  return response() as string;
}

test.each([
  ['delays', '-NAK {"delay": 31536000000000000}', /NATS\/1\.0 408/],
  // The control.
  ['acknowledges', '+ACK', /^event 5000$/],
])(
  'a connector that %s as many events as a consumer delivers at once: what another one gets',
  async (_, ack, expected) => {
    await using nats = await startNats();
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    for (let event = 0; event < SIEM_MAX_ACK_PENDING + 10; event += 1) admin.nc.publish(LIVE, `event ${event}`);
    await admin.nc.flush();
    const unacknowledged = async () => (await admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_ack_pending;
    const connect = async () => {
      const raw = await RawNats.connect({ port: nats.port, user: 'siem-reader', password: 'password-of-siem-reader' });
      raw.write('SUB _INBOX_siem-reader.raw 2\r\n');
      return raw;
    };
    const thief = await connect();
    thief.publish({
      subject: 'BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf',
      reply: '_INBOX_siem-reader.raw',
      body: JSON.stringify({ batch: SIEM_MAX_ACK_PENDING }),
    });
    const acks = () =>
      new Set([...thief.received.matchAll(/ (\$JS\.ACK\.\S+) \d+\r\n/g)].map(([, subject]) => subject));
    await waitFor(() => acks().size === SIEM_MAX_ACK_PENDING, { what: 'events', state: () => acks().size });
    for (const subject of acks()) thief.publish({ subject: subject as string, body: ack });
    await thief.flush();
    await thief[Symbol.asyncDispose]();
    const left = ack === '+ACK' ? 0 : SIEM_MAX_ACK_PENDING;
    await waitFor(async () => (await unacknowledged()) === left, { what: 'the acks', state: unacknowledged });
    const connector = await connect();
    expect(await pullOne(connector)).toMatch(expected);
    // As docs/bus-credentials.md says: events that are still stored come again.
    await admin.jsm.consumers.delete('SIEM', 'siem-ocsf');
    await ensureTopology(admin);
    expect(await pullOne(connector)).toBe('event 0');
    await connector[Symbol.asyncDispose]();
  },
  60_000,
);

const TEN_YEARS_MS = 10 * 365 * 86_400_000;

test.each([
  ['no longer than a minute', TEN_YEARS_MS, 0],
  ['as long as it may', SIEM_MAX_PULL_MS, 1],
  // The control.
  ['for years, without the limit', TEN_YEARS_MS, 1],
] as const)('pulls with heartbeats that a connector leaves behind wait %s', async (_, expiresMs, left) => {
  await using nats = await startNats();
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  const [wanted] = consumerConfigs();
  const isUnlimited = expiresMs > SIEM_MAX_PULL_MS && left > 0;
  // A bus from before the limit; `bus setup` sets it on existing consumers.
  const update = (max_expires: number) =>
    admin.jsm.consumers.update('SIEM', 'siem-ocsf', { ...wanted?.config, max_expires });
  await update(0);
  if (!isUnlimited) await ensureTopology(admin);
  const { config } = await admin.jsm.consumers.info('SIEM', 'siem-ocsf');
  expect(config.max_expires ?? 0).toBe(isUnlimited ? 0 : SIEM_MAX_PULL_MS * 1_000_000);
  const connect = () => RawNats.connect({ port: nats.port, user: 'siem-reader', password: 'password-of-siem-reader' });
  await using live = await connect();
  live.write('SUB bailiff.v1.siem.> 2\r\n');
  await live.flush();
  const thief = await connect();
  // Heartbeats each nanosecond would keep the server busy here, too.
  const body = JSON.stringify({ batch: 1, expires: expiresMs * 1_000_000, idle_heartbeat: 20_000_000_000 });
  thief.publish({ subject: 'BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', reply: LIVE, body });
  await thief.flush();
  if (left === 0)
    await waitFor(() => live.received.includes('409 Exceeded MaxRequestExpires'), { what: 'the refusal' });
  await thief[Symbol.asyncDispose]();
  const waiting = async () => (await admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_waiting;
  await waitFor(async () => (await waiting()) === left, { what: 'what is left', state: waiting });
});
