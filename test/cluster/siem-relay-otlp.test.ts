// Logs from the relay by OTLP/HTTP, decoded by Google's protobuf and the published definitions.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { openBucket, streamInfo } from '@bailiff/bus';
import { sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { HttpReceiver, type Received, type Reply } from './http-receiver.ts';
import { OTHER_NODE, RelayRig } from './siem-relay-rig.ts';

const DECODER = path.resolve(import.meta.dirname, 'otlp_receiver.py');
const python = (lines: readonly string[]) =>
  execFileSync('/usr/bin/python3', [DECODER], { input: `${lines.join('\n')}\n` })
    .toString('utf8')
    .trim()
    .split('\n');

type Attributes = { key: string; value: { stringValue: string } }[];
interface Decoded {
  resourceLogs: {
    resource: { attributes: Attributes };
    scopeLogs: { logRecords: { body: { stringValue: string }; attributes: Attributes; [field: string]: unknown }[] }[];
  }[];
}
const decoded = (encoding: 'json' | 'protobuf', requests: readonly Received[]) =>
  python(requests.map(({ body }) => `${encoding} ${gunzipSync(body).toString('base64')}`)).map(
    (text) => JSON.parse(text) as Decoded,
  );
const recordsOf = (requests: readonly Decoded[]) =>
  requests.flatMap(({ resourceLogs }) =>
    resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap((s) => s.logRecords)),
  );
const named = (attributes: Attributes) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]));
const flags = (receiver: HttpReceiver, more: readonly string[] = []) => [
  '--otlp.url',
  receiver.url('/v1/logs'),
  ...more,
];

it.each(['protobuf', 'json'] as const)(
  'otlp - %s with gzip has every event with the names of OpenTelemetry',
  async (encoding) => {
    await using rig = await RelayRig.start();
    await using receiver = await new HttpReceiver().start();
    const cluster = { uid: '6d3bd2f2-0a5a-4a7e-9b0c-5f2f1f0f9a10', name: 'shop-eu' };
    await openBucket(rig.admin, 'bailiff_pods').put('_cluster', JSON.stringify({ revision: 1, nodes: [], cluster }));
    await rig.relay(flags(receiver, ['--otlp.encoding', encoding]));
    await rig.violations([sampleViolation(), sampleViolation({ vector: 'arp-sender' })]);
    await rig.verdict({ rule: 'spoof-flood', level: 'critical', reason: 'Grüße "quoted"' });
    await rig.response({ action: 'quarantine', phase: 'succeeded' });
    const records = () => recordsOf(decoded(encoding, receiver.accepted));
    await waitFor(() => receiver.accepted.length > 0 && records().length === 4, {
      what: 'four records',
      timeoutMs: 30_000,
    });
    expect(receiver.accepted[0]?.headers).toMatchObject({ 'content-encoding': 'gzip' });
    const [first] = decoded(encoding, receiver.accepted);
    expect(named(first?.resourceLogs[0]?.resource.attributes ?? [])).toEqual({
      'service.name': 'bailiff',
      'service.version': expect.any(String),
      'k8s.cluster.uid': cluster.uid,
      'k8s.cluster.name': cluster.name,
    });
    const verdict = records().find(({ eventName }) => eventName === 'bailiff.detection-finding');
    expect(verdict).toMatchObject({
      severityText: 'Critical',
      body: { stringValue: expect.stringContaining('Grüße "quoted"') },
      timeUnixNano: expect.stringMatching(/^\d{16}000$/),
    });
    const attributes = named(verdict?.attributes ?? []);
    expect(attributes).toMatchObject({
      'log.record.uid': `verdicts-${await rig.madeToken('VERDICTS')}-1-0`,
      'security_rule.name': 'spoof-flood',
      'k8s.namespace.name': expect.any(String),
      'k8s.pod.name': expect.any(String),
      'k8s.pod.uid': expect.any(String),
      'k8s.node.name': expect.any(String),
    });
    expect(JSON.parse(attributes['bailiff.ocsf'] as string)).toMatchObject({ class_uid: 2004 });
    const vectors = records().map(({ attributes: of }) => named(of)['security_rule.name']);
    expect(vectors).toContain('arp-sender');
    expect(JSON.stringify(records())).not.toContain('"undefined"');
    expect(JSON.stringify(records())).not.toContain('"undefined"');
  },
);

it.each(['protobuf', 'json'] as const)(
  'otlp - a partial success by %s is counted with a dead letter and not sent again',
  async (encoding) => {
    await using rig = await RelayRig.start();
    await using receiver = await new HttpReceiver().start();
    const partial = { rejectedLogRecords: '2', errorMessage: 'too old' };
    const [binary = ''] = python(['partial 2 too old']);
    const body = encoding === 'json' ? JSON.stringify({ partialSuccess: partial }) : Buffer.from(binary, 'base64');
    receiver.reply = (_, index) =>
      index === 0 ? { status: 503, headers: { 'retry-after': '1' } } : { status: 200, body };
    const relay = await rig.relay(flags(receiver, ['--otlp.encoding', encoding]));
    await rig.violations([sampleViolation(), sampleViolation(), sampleViolation()]);
    const refused = () => relay.metric('output_refused_total{output="otlp"}');
    await waitFor(async () => (await refused()) === 2, {
      what: 'the count',
      timeoutMs: 30_000,
      state: () => relay.log().slice(-3),
    });
    expect(await relay.metric('output_delivered_total{output="otlp"}')).toBe(1);
    const [busy, taken] = receiver.requests;
    expect((taken?.atMs ?? 0) - (busy?.atMs ?? 0)).toBeGreaterThanOrEqual(1_000);
    const letter = await rig.admin.jsm.streams.getMessage('DEAD_LETTERS', {
      last_by_subj: 'bailiff.v1.deadletters.siem.>',
    });
    expect(letter?.header.get('Bailiff-Detail')).toMatch(/2 of 3 events up to violations-\S+-2 are rejected: too old$/);
    // What comes later is a request of its own, without the former events.
    await rig.verdict();
    await waitFor(() => receiver.requests.length === 3, { what: 'the next request', timeoutMs: 30_000 });
    expect(recordsOf(decoded(encoding, receiver.requests.slice(2)))).toHaveLength(1);
  },
);

it.each(['protobuf', 'json'] as const)(
  'otlp - a violation from before 1970, which a node can write, keeps nothing of other nodes back by %s',
  async (encoding) => {
    await using rig = await RelayRig.start();
    await using receiver = await new HttpReceiver().start();
    const relay = await rig.relay(flags(receiver, ['--otlp.encoding', encoding]));
    const times = { firstSeenAt: -1, lastSeenAt: -1 };
    await rig.violations([sampleViolation(times)]);
    await rig.violations([sampleViolation()], 'spoof', OTHER_NODE);
    const records = () => recordsOf(decoded(encoding, receiver.accepted));
    await waitFor(() => receiver.accepted.length > 0 && records().length === 2, {
      what: 'two records',
      timeoutMs: 30_000,
      state: () => relay.log().slice(-3),
    });
    const [first] = records();
    expect(first?.['timeUnixNano'], 'the time of the bus').toBe(first?.['observedTimeUnixNano']);
    expect(await relay.metric('output_refused_total{output="otlp"}')).toBe(0);
  },
);

const bodyOf = ({ body }: Received) => JSON.parse(gunzipSync(body).toString('utf8')) as Decoded;
const nodesOf = (requests: readonly Received[]) =>
  recordsOf(requests.map(bodyOf)).map(({ attributes }) => named(attributes)['k8s.node.name']);

/**
 * As Loki by default: a request is refused with a record that is a week old, ten minutes ahead, or an hour older than the
 * newest one.
 */
function refusesByTime(): (request: Received) => Reply {
  let newestMs = 0;
  return (request) => {
    const times = recordsOf([bodyOf(request)]).map(({ timeUnixNano }) => Number(timeUnixNano) / 1e6);
    const from = Math.max(Date.now() - 7 * 86_400_000, newestMs - 3_600_000);
    if (times.some((ms) => ms < from || ms > Date.now() + 600_000)) return { status: 400 };
    newestMs = Math.max(newestMs, ...times);
    return { status: 200 };
  };
}

it.each([
  ['long ago', 1_000_000],
  ['far ahead', 4_000_000_000_000_000],
  ['two hours ago', (Date.now() - 7_200_000) * 1_000],
])('otlp - a time %s that a node writes, which the receiver refuses, delays no event of other nodes', async (_, at) => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = refusesByTime();
  const relay = await rig.relay(flags(receiver, ['--otlp.encoding', 'json']));
  const of = (micros: number) => sampleViolation({ firstSeenAt: micros, lastSeenAt: micros });
  const now = () => rig.violations([of(Date.now() * 1_000)], 'spoof', OTHER_NODE);
  const arrived = (count: number) =>
    waitFor(() => nodesOf(receiver.accepted).filter((node) => node === OTHER_NODE).length === count, {
      what: `event ${count} of the other node`,
      timeoutMs: 10_000,
      state: () => relay.log().slice(-3),
    });
  await now();
  await arrived(1);
  // Within the share of the node. After 20 refusals in a row each further one would wait, up to a minute.
  for (let n = 0; n < 15; n += 1) await rig.violations([of(at), of(at), of(at), of(at)]);
  await now();
  await arrived(2);
  expect(await relay.metric('output_refused_total{output="otlp"}')).toBe(0);
  const event = recordsOf(receiver.accepted.map(bodyOf)).find(
    ({ attributes }) => named(attributes)['k8s.node.name'] !== OTHER_NODE,
  );
  const ocsf = JSON.parse(named(event?.attributes ?? [])['bailiff.ocsf'] as string) as { time: number };
  expect(ocsf.time, 'the word of the node').toBe(at / 1_000);
});

it('otlp - added when SIEM has deleted 60 of 100 events: those are not lost, also after a restart; control: those after', async () => {
  await using rig = await RelayRig.start(false);
  await using receiver = await new HttpReceiver().start();
  receiver.reply = () => ({ status: 503 });
  const siem = () => streamInfo(rig.admin, 'SIEM');
  const filling = await rig.relay();
  const filled = async (to: number) => {
    for (let n = 0; n < 10; n += 1) await rig.violations(Array.from({ length: 10 }, () => sampleViolation()));
    await waitFor(async () => (await siem()).state.last_seq === to, { what: 'all events', state: siem });
  };
  await filled(100);
  await filling.stop();
  await rig.admin.jsm.streams.update('SIEM', { ...(await siem()).config, max_msgs: 40 });
  let relay = await rig.relay(flags(receiver));
  const fails = () =>
    waitFor(async () => (await relay.metric('output_failures_total{output="otlp"}')) > 0, { what: 'a failure' });
  const again = async () => {
    await relay.stop();
    relay = await rig.relay(flags(receiver));
    await fails();
  };
  const lost = () => relay.metric('lost_messages_total{stream="otlp"}');
  await fails();
  await again();
  expect(await lost()).toBe(0);
  await filled(200);
  await again();
  expect(await lost()).toBe(100);
});
