// Every output of the siem-relay under faults: its receiver is killed, slow, and answers 429 and 500;
// the bus restarts and the relay is killed. No event is lost, a repeated one has the same id and
// content, and one receiver that hangs delays no other output.
import net from 'node:net';
import { gunzipSync } from 'node:zlib';
import { sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { HttpReceiver, type Reply } from '../cluster/http-receiver.ts';
import { launchRelay, RelayRig } from '../cluster/siem-relay-rig.ts';

const VERDICTS = 60;
const KILLS = 3;

/** Octet-counting syslog; a kill resets its connections with what is unread. */
class SyslogReceiver implements AsyncDisposable {
  readonly texts: string[] = [];
  readonly #sockets = new Set<net.Socket>();
  #server: net.Server | null = null;
  port = 0;

  async start(): Promise<this> {
    const server = net.createServer((socket) => {
      this.#sockets.add(socket);
      let buffer = '';
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      socket.on('data', (chunk) => {
        buffer += chunk.toString('latin1');
        for (;;) {
          const [length = ''] = buffer.split(' ', 1);
          const end = length.length + 1 + Number(length);
          if (!buffer.includes(' ') || buffer.length < end) return;
          this.texts.push(buffer.slice(buffer.indexOf('CEF:'), end));
          buffer = buffer.slice(end);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as net.AddressInfo).port;
    this.#server = server;
    return this;
  }
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    const closed = new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** 429 with a pause, 500, slow and good replies in turn. */
function faulty(_: unknown, index: number): Reply {
  if (index % 20 === 2) return { status: 429, headers: { 'retry-after': '1' } };
  if (index % 7 === 4) return { status: 500 };
  const after = index % 7 === 6 ? new Promise((resolve) => setTimeout(resolve, 150)) : Promise.resolve();
  return { status: 200, after };
}

/** Contents by id; an id that comes again with another content is reported. */
function byId(found: readonly (readonly [id: string, content: string])[]): {
  ids: Map<string, string>;
  changed: string[];
} {
  const ids = new Map<string, string>();
  const changed: string[] = [];
  for (const [id, content] of found) {
    if (ids.has(id) && ids.get(id) !== content) changed.push(id);
    ids.set(id, content);
  }
  return { ids, changed };
}

it('outputs - killed, slow and refusing receivers, a restarted bus and a killed relay lose no event', {
  timeout: 240_000,
}, async () => {
  await using rig = await RelayRig.start();
  await using syslog = await new SyslogReceiver().start();
  await using webhook = await new HttpReceiver().start();
  await using hung = await new HttpReceiver().start();
  await using otlp = await new HttpReceiver().start();
  await using alerts = await new HttpReceiver().start();
  for (const receiver of [webhook, otlp, alerts]) receiver.reply = faulty;
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  hung.reply = () => ({ status: 200, after: released });
  const hooks = {
    chat: { url: webhook.url(), allowPrivateAddress: true },
    hung: { url: hung.url(), allowPrivateAddress: true, timeoutMs: 60_000 },
  };
  const flags = [
    ...rig.flags(),
    ...['--formats', 'ocsf,cef', '--syslog-address', `127.0.0.1:${syslog.port}`, '--syslog-transport', 'tcp'],
    ...['--syslog-confirm-ms', '300', '--otlp.url', otlp.url('/v1/logs'), '--otlp.encoding', 'json'],
    ...['--alertmanager.urls', alerts.url(), '--alertmanager.resend-ms', '600000', '--webhooks', JSON.stringify(hooks)],
  ];
  let relay = await launchRelay(flags);
  const verdictsAt = await rig.madeToken('VERDICTS');
  const violationsAt = await rig.madeToken('VIOLATIONS');
  const verdictUids: string[] = [];
  const violationUids: string[] = [];
  let sending = true;
  const send = (async () => {
    for (let n = 1; n <= VERDICTS; n += 1) {
      const verdictId = n.toString(16).padStart(32, '0');
      const pod = { uid: `pod-${n}`, namespace: 'shop', name: `web-${n}`, ownerKind: '', ownerName: '', ownerUid: '' };
      verdictUids.push(`verdicts-${verdictsAt}-${await rig.verdict({ verdictId, pod })}-0`);
      violationUids.push(`violations-${violationsAt}-${await rig.violations([sampleViolation()])}-0`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    sending = false;
  })();
  const receivers = [syslog, webhook, otlp, alerts];
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = [syslog.texts.length, webhook.accepted.length, otlp.accepted.length, alerts.accepted.length];
    const moved = () => {
      const now = [syslog.texts.length, webhook.accepted.length, otlp.accepted.length, alerts.accepted.length];
      return now.every((count, index) => count > (before[index] as number));
    };
    await waitFor(() => moved() || !sending, {
      what: 'each output to deliver',
      timeoutMs: 60_000,
      state: () => [before, relay.out().slice(-600)],
    });
    await Promise.all(receivers.map((receiver) => receiver.kill()));
    if (kill === 1) await rig.nats.restart();
    if (kill === 2) {
      await relay.kill();
      relay = await launchRelay(flags);
    }
    await Promise.all(receivers.map((receiver) => receiver.start()));
  }
  await send;
  const expected = [...verdictUids, ...violationUids];
  const delivered = {
    syslog: () => byId(syslog.texts.map((text) => [/externalId=(\S+)/.exec(text)?.[1] ?? '', text] as const)),
    webhook: () =>
      byId(
        webhook.accepted.map(({ headers, body }) => [String(headers['webhook-id']), body.toString('utf8')] as const),
      ),
    otlp: () =>
      byId(
        otlp.accepted.flatMap(({ body }) => {
          const { resourceLogs } = JSON.parse(gunzipSync(body).toString('utf8'));
          const records = resourceLogs.flatMap((r: { scopeLogs: { logRecords: unknown[] }[] }) =>
            r.scopeLogs.flatMap((s) => s.logRecords),
          );
          return records.map((record: { attributes: { key: string; value: { stringValue: string } }[] }) => {
            const uid = record.attributes.find(({ key }) => key === 'log.record.uid')?.value.stringValue ?? '';
            return [uid, JSON.stringify(record)] as const;
          });
        }),
      ),
    alertmanager: () =>
      byId(
        alerts.accepted.flatMap(({ body }) =>
          (JSON.parse(body.toString('utf8')) as { labels: Record<string, string> }[]).map(
            ({ labels }) => [labels['pod'] as string, JSON.stringify(labels)] as const,
          ),
        ),
      ),
  };
  const wanted: Record<keyof typeof delivered, string[]> = {
    ...{ syslog: expected, otlp: expected, webhook: verdictUids },
    alertmanager: verdictUids.map((_, index) => `web-${index + 1}`),
  };
  for (const [name, read] of Object.entries(delivered) as [keyof typeof delivered, () => ReturnType<typeof byId>][]) {
    const missing = () => wanted[name].filter((id) => !read().ids.has(id));
    await waitFor(() => missing().length === 0, {
      what: `all at ${name}`,
      timeoutMs: 90_000,
      state: () => [missing().length, relay.out().slice(-900)],
    });
    const { ids, changed } = read();
    expect([name, changed]).toEqual([name, []]);
    expect([name, ids.size]).toEqual([name, wanted[name].length]);
  }
  // All of it while one receiver has not answered a single request.
  expect(hung.requests.length).toBeGreaterThan(0);
  expect(hung.accepted).toEqual([]);
  release();
  const hungMissing = () =>
    verdictUids.filter((id) => !hung.accepted.some(({ headers }) => headers['webhook-id'] === id));
  await waitFor(() => hungMissing().length === 0, {
    what: 'all at the one that hung',
    timeoutMs: 90_000,
    state: () => [hungMissing().length, relay.out().slice(-900)],
  });
  await relay.kill();
});
