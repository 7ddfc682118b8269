// Webhooks from the relay to a real HTTP server: signed, retried under the same id, refused for good,
// and kept from private destinations and redirects.
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, consumeOrdered, openBucket, streamInfo } from '@bailiff/bus';
import type { PodRef } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { HttpReceiver } from './http-receiver.ts';
import { NODE, RelayRig } from './siem-relay-rig.ts';

const SECRET = Buffer.alloc(32, 9);
type Webhook = Record<string, unknown>;
const webhooks = (all: Record<string, Webhook>) => ['--webhooks', JSON.stringify(all)];
const to = (receiver: HttpReceiver, more: Webhook = {}) => ({
  url: receiver.url(),
  allowPrivateAddress: true,
  ...more,
});
const id = (n: number) => n.toString(16).padStart(32, '0');
const idsOf = (requests: HttpReceiver['requests']) => requests.map(({ headers }) => headers['webhook-id']);

/** Dead letters with their detail, read once there are as many. */
async function letters(bus: Bus, count: number): Promise<string[]> {
  const found: string[] = [];
  const end = new AbortController();
  const reading = consumeOrdered(bus, 'DEAD_LETTERS', {
    start: 'all',
    onMessage: ({ subject, headers }) => void found.push(`${subject} ${headers?.get('Bailiff-Detail')}`),
    signal: end.signal,
  });
  await waitFor(() => found.length >= count, { what: `${count} dead letters`, state: () => found });
  end.abort();
  await reading;
  return found;
}

it('webhook - a verdict arrives signed by both secrets, and after failures under the same id', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = (_, index) =>
    [{ status: 500 }, { status: 429, headers: { 'retry-after': '1' } }][index] ?? { status: 204 };
  const secretFile = path.join(rig.directory, 'secret');
  writeFileSync(secretFile, [Buffer.alloc(32, 1), SECRET].map((key) => `whsec_${key.toString('base64')}\n`).join(''));
  const relay = await rig.relay(webhooks({ soc: to(receiver, { secretFile }) }));
  await rig.violations();
  await rig.verdict({ verdictId: id(1) });
  await waitFor(() => receiver.accepted.length === 1, {
    what: 'the delivery',
    state: () => [idsOf(receiver.requests), relay.log().slice(-3)],
  });
  const token = await rig.madeToken('VERDICTS');
  // Violations are not among the events of a webhook.
  expect(idsOf(receiver.requests)).toEqual(Array.from({ length: 3 }, () => `verdicts-${token}-1-0`));
  const [, busy, last] = receiver.requests;
  expect((last?.atMs ?? 0) - (busy?.atMs ?? 0)).toBeGreaterThanOrEqual(1_000);
  const { headers, body } = receiver.accepted[0] as HttpReceiver['requests'][number];
  expect(JSON.parse(body.toString('utf8'))).toMatchObject({ class_uid: 2004, finding_info: { uid: id(1) } });
  const content = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body.toString('utf8')}`;
  const signatures = String(headers['webhook-signature']).split(' ');
  expect(signatures).toHaveLength(2);
  expect(signatures).toContain(`v1,${createHmac('sha256', SECRET).update(content).digest('base64')}`);
  await waitFor(async () => (await relay.metric('output_failures_total{output="webhook-soc"}')) === 2, {
    what: 'two failures',
  });
  expect(await relay.metric('output_failing{output="webhook-soc"}')).toBe(0);
});

it('webhook - what the receiver refuses is a dead letter with its reason, and later events arrive', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = ({ body }) => (body.includes(id(2)) ? { status: 422, body: 'no\u001bsuch field' } : { status: 200 });
  const relay = await rig.relay(webhooks({ soc: to(receiver) }));
  for (const n of [1, 2, 3]) await rig.verdict({ verdictId: id(n) });
  await waitFor(() => receiver.accepted.length === 2, { what: 'the others', state: () => relay.log().slice(-3) });
  await waitFor(async () => (await relay.metric('output_refused_total{output="webhook-soc"}')) === 1, {
    what: 'the count',
  });
  expect(await letters(rig.admin, 1)).toEqual([
    expect.stringMatching(
      /^bailiff\.v1\.deadletters\.siem\.webhook-soc-refused\.\d+ verdicts-\w+-2-0: 127\.0\.0\.1:\d+ responds with 422: no\\u001bsuch field$/,
    ),
  ]);
});

it('webhook - a private destination is refused by address and by name; allowed, it gets the same event', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  const urls = { address: `https://127.0.0.1:${receiver.port}`, name: `https://localhost:${receiver.port}` };
  const relay = await rig.relay(
    webhooks({ address: { url: urls.address }, name: { url: urls.name }, allowed: to(receiver) }),
  );
  await rig.verdict();
  await waitFor(() => receiver.accepted.length === 1, { what: 'the allowed one' });
  for (const name of ['address', 'name']) {
    const failures = () => relay.metric(`output_failures_total{output="webhook-${name}"}`);
    await waitFor(async () => (await failures()) >= 2, { what: `refusals of ${name}` });
  }
  expect(
    relay.log().filter(({ err }) => (err as { code?: string } | undefined)?.code === 'OUTPUT_ADDRESS').length,
  ).toBeGreaterThan(0);
  // The allowed webhook has the only connection.
  expect(receiver.connections).toBe(1);
});

it('webhook - a redirect is not followed', async () => {
  await using rig = await RelayRig.start();
  await using target = await new HttpReceiver().start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = () => ({ status: 307, headers: { location: target.url() } });
  const relay = await rig.relay(webhooks({ soc: to(receiver) }));
  await rig.verdict();
  await waitFor(() => receiver.requests.length >= 2, { what: 'a second attempt' });
  expect(target.connections).toBe(0);
  await relay.stop();
  // The control: what the redirect names is reachable.
  await rig.relay(webhooks({ soc: to(target) }));
  await waitFor(() => target.accepted.length === 1, { what: 'the event there' });
});

it('webhook - a receiver that asks for another protocol has the event after it is well again', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  const upgrade = { status: 101, headers: { connection: 'Upgrade', upgrade: 'websocket' } };
  receiver.reply = (_, index) => (index === 0 ? upgrade : { status: 204 });
  const relay = await rig.relay(webhooks({ soc: to(receiver) }));
  await rig.verdict();
  await waitFor(async () => (await relay.metric('output_delivered_total{output="webhook-soc"}')) === 1, {
    what: 'the delivery',
    state: () => idsOf(receiver.requests),
  });
  expect(new Set(idsOf(receiver.requests)).size).toBe(1);
});

it('webhook - a restart in another order continues each at its own position; a new one begins with new events', async () => {
  await using rig = await RelayRig.start();
  await using a = await new HttpReceiver().start();
  await using b = await new HttpReceiver().start();
  await using c = await new HttpReceiver().start();
  b.reply = () => ({ status: 503 });
  const first = await rig.relay(webhooks({ a: to(a), b: to(b) }));
  await rig.verdict({ verdictId: id(1) });
  await waitFor(() => a.accepted.length === 1 && b.requests.length > 0, { what: 'the first event' });
  await first.stop();
  b.reply = () => ({ status: 200 });
  await rig.relay(webhooks({ c: to(c), b: to(b), a: to(a, { minLevel: 'high' }) }));
  await waitFor(() => b.accepted.length === 1, { what: 'the event that b refused to take' });
  await rig.verdict({ verdictId: id(2), level: 'medium' });
  await rig.verdict({ verdictId: id(3), level: 'critical' });
  await waitFor(() => [a, b, c].every(({ accepted }) => accepted.some(({ body }) => body.includes(id(3)))), {
    what: 'the last event',
  });
  // Different ids: an event whose acknowledgement the stop cut off is delivered again under its id.
  const counts = [a, b, c].map(({ accepted }) => new Set(idsOf(accepted)).size);
  // a has the first and, of its level, the third; c is new.
  expect(counts).toEqual([2, 3, 2]);
});

const verdictOf = (rig: RelayRig, namespace: string, n: number) =>
  rig.verdict({ verdictId: id(n), pod: { ...(sampleVerdict().pod as PodRef), namespace } });

/** A promise that a test resolves. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** What a webhook got of verdicts: their namespaces and ids, in order. */
const verdictsOf = (accepted: HttpReceiver['accepted']) =>
  accepted.map(({ body }) => {
    const { unmapped, finding_info } = JSON.parse(String(body));
    return { namespace: String(unmapped.k8s.namespace), n: Number.parseInt(finding_info.uid, 16) };
  });

it('webhook - behind a backlog of one namespace, the verdicts of another have their turn, also after a restart', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  const first = gate();
  receiver.reply = () => ({ status: 200, after: first.opened });
  const relay = await rig.relay(webhooks({ chat: to(receiver) }));
  for (let n = 1; n <= 40; n += 1) await verdictOf(rig, 'flood', n);
  await verdictOf(rig, 'quiet', 41);
  await rig.verdict({ verdictId: id(42), groupBy: 'node', groupKey: NODE, pod: null });
  await verdictOf(rig, 'quiet', 43);
  // The control: in SIEM they are behind it.
  await rig.eventCount(43);
  expect(rig.events.findIndex(({ text }) => text.includes(id(41)))).toBe(40);
  const pending = () => relay.metric('pending_messages{stream="webhook-chat"}');
  await waitFor(async () => (await pending()) === 43, { what: 'all events read ahead', state: pending });
  // Ten are taken, and the next one waits when the relay stops.
  const others = gate();
  receiver.reply = (_, index) => ({ status: 200, ...(index < 10 ? {} : { after: others.opened }) });
  first.open();
  await waitFor(() => receiver.requests.length === 11, { what: 'the request that waits' });
  expect(
    verdictsOf(receiver.accepted)
      .slice(0, 6)
      .map(({ n }) => n),
  ).toEqual([1, 41, 42, 2, 43, 3]);
  const stopped = relay.stop();
  others.open();
  await stopped;
  await rig.relay(webhooks({ chat: to(receiver) }));
  await waitFor(() => new Set(idsOf(receiver.accepted)).size === 43, { what: 'the rest' });
  // Only the request that the stop cut off can be there twice.
  expect(receiver.accepted.length).toBeLessThanOrEqual(44);
  const ofFlood = verdictsOf(receiver.accepted).flatMap(({ namespace, n }) => (namespace === 'flood' ? [n] : []));
  expect(ofFlood).toEqual(ofFlood.toSorted((a, b) => a - b));
});

it('webhook - of 2,200 events, 1,080 are delivered before older ones: after a stop, none is repeated', async () => {
  const each = 1_100;
  await using rig = await RelayRig.start(false);
  await using receiver = await new HttpReceiver().start();
  const [first, last] = [gate(), gate()];
  receiver.reply = () => ({ status: 200, after: first.opened });
  const relay = await rig.relay(webhooks({ chat: to(receiver) }));
  for (let n = 1; n <= 2 * each; n += 50) {
    const namespace = n <= each ? 'first' : 'second';
    await Promise.all(Array.from({ length: 50 }, (_, more) => verdictOf(rig, namespace, n + more)));
  }
  const pending = () => relay.metric('pending_messages{stream="webhook-chat"}');
  await waitFor(async () => (await pending()) === 2 * each, {
    what: 'all events read',
    timeoutMs: 60_000,
    state: pending,
  });
  const before = 2 * each - 40;
  receiver.reply = (_, index) => ({ status: 200, ...(index < before ? {} : { after: last.opened }) });
  first.open();
  await waitFor(() => receiver.requests.length > before, { what: 'the request that waits', timeoutMs: 60_000 });
  const stopped = relay.stop();
  last.open();
  await stopped;
  await rig.relay(webhooks({ chat: to(receiver) }));
  const different = () => new Set(idsOf(receiver.accepted)).size;
  await waitFor(() => different() === 2 * each, { what: 'the rest', timeoutMs: 60_000, state: different });
  // Only the request that the stop cut off can be there twice.
  expect(receiver.accepted.length).toBeLessThanOrEqual(2 * each + 1);
});

it.each(['restarts', 'no restart'])(
  'webhook - SIEM deletes 60 of 100 events that wait; with %s, none is missing uncounted',
  async (how) => {
    await using rig = await RelayRig.start(false);
    await using receiver = await new HttpReceiver().start();
    receiver.reply = () => ({ status: 503 });
    let relay = await rig.relay(webhooks({ soc: to(receiver) }));
    for (let n = 1; n <= 100; n += 1) await verdictOf(rig, 'web', n);
    const metric = (name: string) => relay.metric(`${name}{stream="webhook-soc"}`);
    await waitFor(async () => (await metric('pending_messages')) === 100, { what: 'all events read ahead' });
    const siem = async () => (await streamInfo(rig.admin, 'SIEM')).config;
    await rig.admin.jsm.streams.update('SIEM', { ...(await siem()), max_msgs: 40 });
    const again = async () => {
      await relay.stop();
      relay = await rig.relay(webhooks({ soc: to(receiver) }));
    };
    const lost = () => metric('lost_messages_total');
    if (how === 'restarts') {
      await again();
      await waitFor(async () => (await lost()) === 60, { what: 'the count of the loss', state: lost });
      await again();
    }
    receiver.reply = () => ({ status: 200 });
    const arrived = () => new Set(idsOf(receiver.accepted)).size;
    const most = how === 'restarts' ? 40 : 100;
    await waitFor(() => arrived() === most, { what: 'the others', timeoutMs: 60_000, state: arrived });
    // A relay counts what was lost before it started, and not what its predecessor has counted.
    expect(await lost()).toBe(0);
  },
);

it('webhook - a position that a response of the server replaced is none of its own: what waits arrives', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = () => ({ status: 503 });
  const relay = await rig.relay(webhooks({ soc: to(receiver) }));
  for (const n of [1, 2, 3]) await rig.verdict({ verdictId: id(n) });
  await waitFor(() => receiver.requests.length > 0, { what: 'the failure' });
  await relay.stop();
  const position = async () =>
    (await openBucket(rig.admin, 'bailiff_siem').newest('webhook-1'))?.value.toString() ?? '';
  expect(await position()).toContain('webhook-soc');
  const responder = await rig.nats.connect('responder');
  responder.nc.publish('$JS.API.STREAM.INFO.VERDICTS', '', { reply: '$KV.bailiff_siem.webhook-1' });
  await waitFor(async () => (await position()).includes('stream_info'), { what: 'the response', state: position });
  receiver.reply = () => ({ status: 200 });
  await rig.relay(webhooks({ soc: to(receiver) }));
  await waitFor(() => receiver.accepted.length === 3, { what: 'all of them', state: () => idsOf(receiver.accepted) });
});

it('webhook - an event that the receiver never takes delays its own namespace only', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = ({ body }) => ({ status: body.includes(id(1)) ? 500 : 200 });
  await rig.relay(webhooks({ soc: to(receiver) }));
  await verdictOf(rig, 'poison', 1);
  await verdictOf(rig, 'poison', 2);
  await waitFor(() => receiver.requests.length > 0, { what: 'the failure' });
  await verdictOf(rig, 'other', 3);
  await waitFor(() => receiver.accepted.length === 1, { what: 'the other one' });
  expect(verdictsOf(receiver.accepted)).toEqual([{ namespace: 'other', n: 3 }]);
  // The allow beside it: once it is taken, both follow in order.
  receiver.reply = () => ({ status: 200 });
  await waitFor(() => receiver.accepted.length === 3, { what: 'its namespace' });
  expect(verdictsOf(receiver.accepted).map(({ n }) => n)).toEqual([3, 1, 2]);
});

it('webhook - while the bus takes no dead letter, an event that the receiver refuses delays its own namespace only', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = ({ body }) => ({ status: body.includes(id(1)) ? 422 : 200 });
  const { config } = await streamInfo(rig.admin, 'DEAD_LETTERS');
  await rig.admin.jsm.streams.update('DEAD_LETTERS', { ...config, max_msg_size: 16 });
  await rig.relay(webhooks({ soc: to(receiver) }));
  await verdictOf(rig, 'refused', 1);
  await verdictOf(rig, 'refused', 2);
  await waitFor(() => receiver.requests.length > 1, { what: 'a second attempt' });
  await verdictOf(rig, 'other', 3);
  await waitFor(() => receiver.accepted.length === 1, { what: 'the other one', state: () => receiver.requests.length });
  expect(verdictsOf(receiver.accepted)).toEqual([{ namespace: 'other', n: 3 }]);
  // Once the letter is stored, its namespace follows.
  await rig.admin.jsm.streams.update('DEAD_LETTERS', config);
  await waitFor(() => receiver.accepted.length === 2, { what: 'the next one', timeoutMs: 60_000 });
  expect(await letters(rig.admin, 1)).toHaveLength(1);
});

it('webhook - events of ten namespaces that the receiver never takes delay no other namespace for long', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = ({ body }) => ({ status: body.includes('poison-') ? 500 : 200 });
  await rig.relay(webhooks({ soc: to(receiver) }));
  for (let n = 1; n <= 10; n += 1) await verdictOf(rig, `poison-${n}`, n);
  await waitFor(() => new Set(idsOf(receiver.requests)).size === 10, { what: 'a failure of each', timeoutMs: 120_000 });
  for (const n of [11, 12, 13]) await verdictOf(rig, 'other', n);
  await waitFor(() => receiver.accepted.length === 3, { what: 'the others', state: () => receiver.requests.length });
});

it('webhook - status names an output whose deliveries fail, and why', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = () => ({ status: 401 });
  await rig.relay(webhooks({ soc: to(receiver) }));
  await rig.verdict();
  await waitFor(() => receiver.requests.length >= 2, { what: 'a second attempt' });
  const text = async () => (await runCli(['status', ...rig.cliFlags()])).stdout;
  await waitFor(
    async () =>
      /siem-relay: .*; outputs: webhook-soc failing for \d+s \(OUTPUT_MISCONFIGURED\)/.test(
        (await text()).replaceAll(/\s+/g, ' '),
      ),
    {
      what: 'the output in status',
      timeoutMs: 30_000,
      state: text,
    },
  );
});

/** An independent check of record_integrity: the SHA-256 of sorted, compact JSON. */
const CHECK = `
import hashlib, json, sys
event = json.load(sys.stdin)
found = event["attestation_list"][0].pop("fingerprint")["value"]
text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
print(hashlib.sha256(text.encode()).hexdigest() == found)`;

it('webhook - one gets OCSF 1.9 with record_integrity, another one 1.5 of the same event', async () => {
  await using rig = await RelayRig.start();
  await using old = await new HttpReceiver().start();
  await using now = await new HttpReceiver().start();
  await rig.relay(webhooks({ old: to(old), now: to(now, { ocsfVersion: '1.9' }) }));
  await rig.verdict({ reason: 'Grüße \u{1f600}' });
  await waitFor(() => old.accepted.length > 0 && now.accepted.length > 0, { what: 'both' });
  const [event, newer] = [old, now].map(({ accepted }) => JSON.parse(String(accepted[0]?.body)));
  expect([event.metadata.version, newer.metadata.version]).toEqual(['1.5.0', '1.9.0']);
  expect([event.metadata.uid, event.attestation_list]).toEqual([newer.metadata.uid, undefined]);
  const check = (value: unknown) =>
    execFileSync('python3', ['-c', CHECK], { input: JSON.stringify(value), encoding: 'utf8' }).trim();
  expect([check(newer), check({ ...newer, severity: 'Low' })]).toEqual(['True', 'False']);
});
