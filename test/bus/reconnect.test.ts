// Causes that keep a broken connection from being restored, apart from the server's absence: an
// expired certificate, and a clock that was set.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  type Bus,
  type BusService,
  type CertificateEnd,
  connectService,
  ensureTopology,
  FramePublisher,
  violationSubject,
} from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { beforeAll, expect, test, vi } from 'vitest';
import { CA_DAYS, makeAuthority, makeServer, SERVER_DAYS } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { startBus } from '../support/bus.ts';

const SUBJECT = violationSubject('node-a', 'spoof');
const HOUR_MS = 3_600_000;
const NAMES = ['127.0.0.1', 'localhost'];
const directory = temporaryDirectory();
const file = (name: string) => path.join(directory, name);
const tls = { certFile: file('tls.crt'), keyFile: file('tls.key'), caFile: file('ca.crt') };
let authority: Awaited<ReturnType<typeof makeAuthority>>;

/** Installs a certificate for the server, and the authority that clients trust. */
function install(by: typeof authority, server: typeof authority): void {
  writeFileSync(tls.caFile, by.certificate);
  writeFileSync(tls.certFile, server.certificate);
  writeFileSync(tls.keyFile, server.key, { mode: 0o600 });
}

/** The server's certificate, expired. */
function installExpired(): void {
  writeFileSync(file('by.crt'), authority.certificate);
  writeFileSync(file('by.key'), authority.key, { mode: 0o600 });
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const when = ['-not_before', '20250101000000Z', '-not_after', '20250102000000Z', '-subj', '/CN=bailiff-nats'];
  const extensions = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const files = ['-CA', file('by.crt'), '-CAkey', file('by.key'), '-keyout', tls.keyFile, '-out', tls.certFile];
  execFileSync('openssl', [...words, ...when, ...extensions, ...files], { stdio: 'pipe' });
}

beforeAll(async () => {
  authority = await makeAuthority();
});

test('certificates - services, readiness and the command report an expired certificate as the reason; renewed files restore all connections without a restart', async () => {
  install(authority, await makeServer(authority, NAMES));
  await using nats = await startNats({ tls });
  const trust = { tls: { caFile: tls.caFile } };
  const admin = await nats.connect('admin', trust);
  await ensureTopology(admin);
  await admin.close();
  const waits: string[] = [];
  let ready: () => true | string = () => 'no check';
  const end = new AbortController();
  let ends: () => readonly CertificateEnd[] = () => [];
  const service: BusService = {
    signal: end.signal,
    health: {
      ready: (name, check) => {
        if (name === 'bus') ready = check;
      },
    },
    onStop: () => undefined,
    onWait: (_, error) => waits.push(error.message),
    onLoginRefused: (error) => waits.push(error.message),
    onRecreated: () => undefined,
    onCertificates: (read) => {
      ends = read;
    },
  };
  const correlator = await connectService(service, { ...nats.options('correlator'), ...trust }, ['VIOLATIONS']);
  await waitFor(() => ends().length > 0, { what: 'the ends of the certificates' });
  const days = ends().map(({ what, notAfterMs }) => [what, Math.round((notAfterMs - Date.now()) / 86_400_000)]);
  expect(days).toEqual([
    ['server certificate', SERVER_DAYS],
    ['certificate authority', CA_DAYS],
  ]);
  const publisher = new FramePublisher(await nats.connect('collector-node-a', trust));
  const password = file('password');
  writeFileSync(password, 'password-of-cli', { mode: 0o600 });
  const who = ['--nats-url', nats.url, '--nats-user', 'cli', '--nats-password-file', password];
  const doctor = () => runCli(['doctor', '--only', 'bus', ...who, '--nats-ca-file', tls.caFile]);
  let frames = 0;
  const publish = () => {
    frames += 1;
    return publisher.publish(SUBJECT, Buffer.from('x'), { msgId: `frame/${frames}` });
  };
  const back = async (frame: Promise<unknown>) => {
    await Promise.all([frame, correlator.whenConnected(AbortSignal.timeout(20_000))]);
    expect(ready()).toBe(true);
    const { stdout } = await doctor();
    expect(stdout).toMatch(/✓ reachable/);
  };
  try {
    installExpired();
    // Existing connections stay.
    await nats.reload({});
    await publish();
    expect([ready(), waits]).toEqual([true, []]);

    await nats.restart();
    let frame = publish();
    const printed = () => waits.some((why) => /certificate has expired/.test(why));
    await waitFor(printed, { what: 'the service to report the reason', state: () => waits });
    expect(ready()).toMatch(/certificate has expired/);
    const found = await doctor();
    expect([found.exitCode, found.stdout]).toEqual([
      7,
      expect.stringMatching(/✗ reachable: .*certificate has expired\n.*→ .*renew/),
    ]);
    install(authority, await makeServer(authority, NAMES));
    await nats.reload({});
    await back(frame);

    // A certificate of another authority.
    const next = await makeAuthority();
    const server = await makeServer(next, NAMES);
    writeFileSync(tls.certFile, server.certificate);
    writeFileSync(tls.keyFile, server.key);
    await nats.restart();
    frame = publish();
    await waitFor(() => waits.some((why) => /self-signed certificate|unable to (get|verify)/.test(why)), {
      what: 'the service to report the unknown authority',
      state: () => waits,
    });
    writeFileSync(tls.caFile, next.certificate);
    await back(frame);
  } finally {
    end.abort();
    publisher.close();
    await correlator.close();
  }
});

test('a login that is refused after a rotation - readiness of the instance names it, until it is accepted', async () => {
  await using nats = await startBus();
  const checks = new Map<string, () => unknown>();
  const refusals: string[] = [];
  const end = new AbortController();
  const nothing = () => undefined;
  const service: BusService = {
    signal: end.signal,
    onStop: nothing,
    onWait: nothing,
    onRecreated: nothing,
    onCertificates: nothing,
    health: { ready: (name: string, check: () => unknown) => void checks.set(name, check) },
    onLoginRefused: (error: Error) => void refusals.push(error.message),
  } as never;
  const readiness = () => checks.get('bus')?.();
  const bus = await connectService(service, { ...nats.options('correlator'), name: 'test' }, ['VIOLATIONS']);
  try {
    await waitFor(() => readiness() === true, { what: 'the control: ready', state: readiness });
    const users = nats.users.map((one) => (one.user === 'correlator' ? { ...one, password: 'rotated' } : one));
    const before = nats.users;
    await nats.restart({ users: [...users] });
    await waitFor(
      () => /the bus refuses the login of correlator: .*Authorization Violation/i.test(String(readiness())),
      {
        what: 'the cause',
        state: readiness,
      },
    );
    expect(refusals).toHaveLength(1);
    await nats.restart({ users: [...before] });
    await waitFor(() => readiness() === true, { what: 'ready again', state: readiness });
  } finally {
    end.abort();
    await bus.close();
  }
});

test.each([
  ['back', -HOUR_MS],
  ['on', HOUR_MS],
])('a clock that is set %s an hour - the connection is restored as without the change', async (_, stepMs) => {
  await using nats = await startBus();
  const bus: Bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus);
  await publisher.publish(SUBJECT, Buffer.from('before'), { msgId: 'before' });
  const real = Date.now;
  vi.spyOn(Date, 'now').mockImplementation(() => real() + stepMs);
  await nats.restart();
  const { duplicate } = await publisher.publish(SUBJECT, Buffer.from('after'), { msgId: 'after' });
  expect([duplicate, bus.connects]).toEqual([false, 2]);
  publisher.close();
});
