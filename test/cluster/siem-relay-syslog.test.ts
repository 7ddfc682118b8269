// Syslog from the relay: a receiver that is slow, unavailable, or without a trusted certificate;
// and rsyslog with the configuration of docs/siem, by TCP and TLS.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { ensureTopology, filters } from '@bailiff/bus';
import { freePort } from '@bailiff/bus/testing';
import { sampleLsmViolation, sampleOperation, sampleViolation } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { launch, type RunningProcess } from '../support/process.ts';
import { RelayRig } from './siem-relay-rig.ts';

const RSYSLOGD = '/usr/sbin/rsyslogd';
const CONF = path.resolve(import.meta.dirname, '../../docs/siem/rsyslog.conf');

const syslogFlags = (port: number, more: readonly string[] = []) => [
  ...['--formats', 'ocsf,cef', '--syslog-address', `localhost:${port}`, '--syslog-confirm-ms', '300'],
  ...more,
];
const PLAIN = ['--syslog-transport', 'tcp'];

/** A key and a self-signed certificate for `localhost`. */
function makeCertificate(directory: string, name: string): { cert: string; key: string } {
  const [cert, key] = [path.join(directory, `${name}.pem`), path.join(directory, `${name}.key`)];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const who = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...who, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { cert, key };
}

/**
 * rsyslogd in the foreground with the configuration of docs/siem; only its ports and its paths
 * differ.
 */
class Rsyslog implements AsyncDisposable {
  readonly directory = temporaryDirectory();
  readonly certificate = makeCertificate(this.directory, 'receiver');
  readonly log = path.join(this.directory, 'events.log');
  tlsPort = 0;
  tcpPort = 0;
  /** One for each start. */
  readonly #running: RunningProcess[] = [];

  async start(): Promise<this> {
    this.tlsPort ||= await freePort();
    this.tcpPort ||= await freePort();
    const conf = path.join(this.directory, 'rsyslog.conf');
    const text = readFileSync(CONF, 'utf8')
      .replace('/etc/bailiff/siem/ca.pem', this.certificate.cert)
      .replace('/etc/bailiff/siem/receiver.pem', this.certificate.cert)
      .replace('/etc/bailiff/siem/receiver.key', this.certificate.key)
      .replace('/var/log/bailiff/events.log', this.log)
      .replace('port="6514"', `port="${this.tlsPort}"`)
      .replace('port="10514"', `port="${this.tcpPort}"`);
    writeFileSync(conf, text);
    const args = ['-n', '-f', conf, '-i', path.join(this.directory, 'pid')];
    const running = launch('setpriv', ['--pdeathsig', 'KILL', RSYSLOGD, ...args]);
    this.#running.push(running);
    for (const port of [this.tlsPort, this.tcpPort]) {
      await waitFor(() => connects(port), { what: `rsyslogd on ${port}`, state: running.out });
    }
    return this;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#running.at(-1)?.kill(signal);
  }

  out(): string {
    return this.#running.map((running) => running.out()).join('');
  }

  lines(): string[] {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8').split('\n').filter(Boolean) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** A receiver that reads only on request, and keeps only a count. */
async function startReceiver(options: { reading: boolean }) {
  const state = { reading: options.reading, bytes: 0, text: '', connections: 0 };
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    state.connections++;
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      state.bytes += chunk.length;
      state.text += chunk.toString('latin1');
    });
    if (state.reading) socket.resume();
    else socket.pause();
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return {
    state,
    port: (server.address() as net.AddressInfo).port,
    resume: () => {
      state.reading = true;
      for (const socket of sockets) socket.resume();
    },
    uids: () => [...new Set([...state.text.matchAll(/externalId=(\S+)/g)].map(([, uid]) => uid))],
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

it('syslog - a receiver that does not read blocks syslog only; memory stays bounded, and nothing is lost', {
  timeout: 240_000,
}, async () => {
  await using rig = await RelayRig.start();
  await using receiver = await startReceiver({ reading: false });
  // More events than the share of a node.
  const limits = { burst: 1e6, perSecond: 1e6, perSecondBehind: 1e6, decodedBurst: 1e12, decodedPerSecond: 1e12 };
  const flags = syslogFlags(receiver.port, [...PLAIN, '--syslog-confirm-timeout-ms', '60000']);
  const relay = await rig.relay(flags, limits);
  // Far more than the kernel's buffers of one connection hold.
  const violations = Array.from({ length: 64 }, () =>
    sampleLsmViolation({
      operation: sampleOperation({ arguments: ['x'.repeat(380)], subject: `/${'y'.repeat(380)}` }),
    }),
  );
  const FRAMES = 80;
  for (let i = 0; i < FRAMES; i++) await rig.violations(violations, 'lsm');
  await rig.eventCount(FRAMES * 64 * 2, 60_000);
  const lag = () => relay.metric('lag_seconds{stream="VIOLATIONS"}');
  // A reader has the last messages before the relay has their acknowledgements.
  await waitFor(async () => (await lag()) === 0, { what: 'no pending message of VIOLATIONS', state: lag });
  let [last, looks] = [-1, 0];
  await waitFor(
    async () => {
      const sent = await relay.metric('messages_total{stream="syslog"}');
      looks = sent === last && sent > 0 ? looks + 1 : 0;
      last = sent;
      return looks >= 5;
    },
    { what: 'syslog to stop', intervalMs: 300, state: () => [last, looks] },
  );
  expect(last).toBeLessThan(FRAMES * 64);
  // Messages that the server delivered and the relay has not written: they are in its memory.
  const consumers = await rig.admin.jsm.consumers.list('SIEM').next();
  const own = consumers.filter(({ config }) => config.filter_subject === filters.siem({ format: 'cef' }));
  const delivered = own.map((one) => one.delivered.consumer_seq);
  // The server deletes a consumer without pulls for 30 s; the relay then creates another when there
  // is room.
  expect(delivered.length).toBeLessThanOrEqual(1);
  for (const sequence of delivered) expect(sequence - last).toBeLessThanOrEqual(101);
  expect(await relay.metric('syslog_confirmed_total')).toBe(0);
  expect(await relay.metric('lag_seconds{stream="syslog"}')).toBeGreaterThan(0);
  await waitFor(async () => (await relay.metric('pending_messages{stream="syslog"}')) > 1_000, {
    what: 'the lag to be visible',
  });
  receiver.resume();
  await waitFor(() => receiver.uids().length === FRAMES * 64, {
    what: 'all of them',
    timeoutMs: 60_000,
    state: () => [receiver.uids().length, relay.log().slice(-3)],
  });
  await waitFor(async () => (await relay.metric('syslog_confirmed_total')) >= FRAMES * 64, { what: 'all confirmed' });
  expect(await relay.metric('lag_seconds{stream="syslog"}')).toBe(0);
});

it('syslog - messages during the wait for a confirmation count as pending', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await startReceiver({ reading: false });
  const relay = await rig.relay(syslogFlags(receiver.port, [...PLAIN, '--syslog-confirm-timeout-ms', '60000']));
  await rig.violations();
  // A confirmation begins by closing the relay's half of the connection.
  const halfClosed = () =>
    execFileSync('ss', ['-Htn', 'state', 'close-wait', `( sport = :${receiver.port} )`]).length > 0;
  await waitFor(halfClosed, { what: 'a confirmation to begin' });
  for (let i = 0; i < 5; i++) await rig.violations();
  const pending = () => relay.metric('pending_messages{stream="syslog"}');
  await waitFor(async () => (await pending()) >= 5, { what: 'the lag to be visible', state: pending });
  receiver.resume();
  await waitFor(async () => (await relay.metric('syslog_confirmed_total')) === 6, { what: 'all confirmed' });
  expect(await pending()).toBe(0);
});

it('syslog - the relay waits for an unavailable receiver, which then gets the missed messages in order', async () => {
  await using rig = await RelayRig.start();
  const port = await freePort();
  const relay = await rig.relay(syslogFlags(port, PLAIN));
  for (let i = 0; i < 5; i++) await rig.violations();
  await waitFor(async () => (await relay.metric('syslog_failures_total')) >= 2, { what: 'two failures' });
  await rig.eventCount(10);
  const text: string[] = [];
  const server = net.createServer((socket) => {
    socket.on('data', (chunk) => text.push(chunk.toString('latin1')));
  });
  await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
  await waitFor(async () => (await relay.metric('syslog_confirmed_total')) === 5, {
    what: 'all five',
  });
  const order = [...text.join('').matchAll(/externalId=\S+-(\d+)-0/g)].map(([, sequence]) => Number(sequence));
  expect(order).toEqual([1, 2, 3, 4, 5]);
  await relay.stop();
  await new Promise((resolve) => server.close(resolve));
});

it('syslog - a recreated SIEM stream is read from its beginning', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await startReceiver({ reading: true });
  const relay = await rig.relay(syslogFlags(receiver.port, PLAIN));
  for (let i = 0; i < 5; i++) await rig.violations();
  await waitFor(async () => (await relay.metric('syslog_confirmed_total')) === 5, { what: 'the first five' });
  await rig.admin.jsm.streams.delete('SIEM');
  await ensureTopology(rig.admin);
  await rig.violations();
  await rig.violations();
  await waitFor(() => receiver.uids().length === 7, {
    what: 'two of the new stream',
    state: () => [receiver.uids(), relay.log().slice(-3)],
  });
});

it('syslog - a receiver whose certificate is not signed by the CA gets nothing', async () => {
  await using rig = await RelayRig.start();
  await using rsyslog = await new Rsyslog().start();
  const other = makeCertificate(rsyslog.directory, 'other');
  const relay = await rig.relay(syslogFlags(rsyslog.tlsPort, ['--syslog-ca-file', other.cert]));
  await rig.violations();
  await waitFor(async () => (await relay.metric('syslog_failures_total')) >= 2, { what: 'two refusals' });
  expect(relay.log().some(({ err }) => (err as { code?: string } | undefined)?.code === 'SYSLOG_CONNECT')).toBe(true);
  expect(rsyslog.lines()).toEqual([]);
  expect(await relay.metric('output_delivered_total{output="syslog"}')).toBe(0);
  expect(await relay.metric('output_failing{output="syslog"}')).toBe(1);
});

it.each(['tcp', 'tls'] as const)(
  'syslog - rsyslog with the configuration of docs/siem accepts OCSF and CEF by %s, and its restart loses nothing',
  async (transport) => {
    await using rig = await RelayRig.start();
    await using rsyslog = await new Rsyslog().start();
    const port = transport === 'tls' ? rsyslog.tlsPort : rsyslog.tcpPort;
    const flags = [
      '--syslog-transport',
      transport,
      ...(transport === 'tls' ? ['--syslog-ca-file', rsyslog.certificate.cert] : []),
    ];
    const relay = await rig.relay(syslogFlags(port, [...flags, '--syslog-format', 'ocsf']));
    await rig.violations([sampleViolation(), sampleViolation({ vector: 'arp-sender' })]);
    await rig.verdict({ reason: 'Grüße "quoted" \\ and a\nbroken line' });
    await rig.response({ action: 'quarantine' });
    await waitFor(() => rsyslog.lines().length >= 4, {
      what: 'four lines',
      state: () => [rsyslog.lines(), rsyslog.out(), relay.log().slice(-2)],
    });
    await waitFor(async () => (await relay.metric('syslog_confirmed_total')) === 4, { what: 'the receipt' });
    await rig.eventCount(2 * 4);
    const onBus = rig.events
      .filter(({ subject }) => subject.startsWith('bailiff.v1.siem.ocsf.'))
      .map(({ text }) => text);
    expect(rsyslog.lines()).toEqual(onBus);
    const finding = rsyslog
      .lines()
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .find((one) => one['class_uid'] === 2004);
    expect(finding).toMatchObject({ finding_info: { desc: 'Grüße "quoted" \\ and a\nbroken line' } });
    // It stops and restarts meanwhile.
    const uids = () =>
      new Set(rsyslog.lines().map((line) => (JSON.parse(line) as { metadata: { uid: string } }).metadata.uid));
    for (let i = 0; i < 20; i++) {
      await rig.violations();
      if (i === 10) {
        await rsyslog.stop();
        await rsyslog.start();
      }
    }
    await waitFor(() => uids().size === 24, {
      what: 'all 24 events',
      timeoutMs: 30_000,
      state: () => [uids().size, rsyslog.out(), relay.log().slice(-3)],
    });
  },
);
