/**
 * Connections to the bus while tokens expire, while bus-auth, the API server or a bus server is
 * down, and during a rotation of credentials. No frame of a collector is lost.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type Bus,
  type BusStatus,
  connectBus,
  ensureTopology,
  FramePublisher,
  streamInfo,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import { lifeOfToken } from '@bailiff/bus/auth';
import { freePort, startNats } from '@bailiff/bus/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { accessOf, tlsIn } from '../../apps/cli/src/operate/credentials/render.ts';
import { load } from '../../apps/cli/src/operate/credentials/store.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { readAll, text } from '../support/bus.ts';
import { AuthRig, NODES } from './bus-auth/rig.ts';

const [A, B] = NODES;
const AS_A = userOf({ role: 'collector', node: A });

/**
 * Publishes frames continuously, as a collector under attack does, and counts the acknowledged
 * ones.
 */
class Fire {
  readonly #publisher: FramePublisher;
  readonly #id = randomUUID();
  readonly #sent: Promise<unknown>[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(bus: Bus) {
    this.#publisher = new FramePublisher(bus, { maxInFlight: 512 });
    this.#timer = setInterval(() => this.#send(), 10);
  }
  #send(): void {
    if (this.#publisher.capacity === 0) return;
    const msgId = `frame-${this.#id}-${this.#sent.length}`;
    this.#sent.push(this.#publisher.publish(violationSubject(A, 'spoof'), Buffer.from(msgId), { msgId }));
  }
  get acked(): number {
    return this.#publisher.acked;
  }
  get unacked(): number {
    return this.#publisher.unacked;
  }
  /** Waits for the last ack. @returns frames sent */
  async cease(): Promise<number> {
    clearInterval(this.#timer);
    await Promise.all(this.#sent);
    this.#publisher.close();
    return this.#sent.length;
  }
}

/** Status events of a connection, by name. */
function reported(bus: Bus): string[] {
  const names: string[] = [];
  bus.statusListeners.add((status: BusStatus) => names.push(status.type === 'error' ? status.error.code : status.type));
  return names;
}

/** A frame that is sent again after an interruption can be stored twice. */
const distinct = async (admin: Bus) => new Set((await readAll(admin, 'VIOLATIONS')).map(text)).size;
const stored = async (admin: Bus) => (await streamInfo(admin, 'VIOLATIONS')).state.messages;

/**
 * Sends requests to the bus continuously. Records the longest delay of the bus and of this process.
 */
class Pace {
  readonly #end = new AbortController();
  readonly #asking: Promise<void>;
  longestMs = 0;

  constructor(bus: Bus) {
    this.#asking = this.#ask(bus);
  }
  async #ask(bus: Bus): Promise<void> {
    while (!this.#end.signal.aborted) {
      const began = performance.now();
      await bus.nc.flush();
      await pause(PACE_MS);
      this.longestMs = Math.max(this.longestMs, performance.now() - began - PACE_MS);
    }
  }
  async cease(): Promise<number> {
    this.#end.abort();
    await this.#asking;
    return this.longestMs;
  }
}
const PACE_MS = 20;
/** A collector uses a token of 5 s between 0.25 and 0.75 s before the old one expires. */
const IN_TIME_MS = 100;
/** A collector that was refused again and again while bus-auth was away waits for up to 45 s. */
const NEXT_LOGIN_MS = 60_000;

test('a token that is replaced in time is used before the old one expires, and no frame is lost', async () => {
  await using rig = await AuthRig.start();
  await rig.busAuth();
  const admin = await rig.topology();
  /**
   * Two renewals of a connection. @returns its status events, frames sent, and the longest pause of
   * the machine
   */
  const renewed = async () => {
    const options = await rig.collector(A, { seconds: 5 });
    const bus = await rig.connect(options);
    const [events, pace, fire] = [reported(bus), new Pace(admin), new Fire(bus)];
    // As a kubelet does, at 80 % of its lifetime.
    const ends = new AbortController();
    const kubelet = (token: string) => {
      const { fromMs, untilMs } = lifeOfToken(token) ?? { fromMs: 0, untilMs: 0 };
      const timer = setTimeout(
        async () => {
          const next = await rig.tokenOf(A, { seconds: 5 });
          rig.write(path.basename(options.tokenFile), next);
          if (!ends.signal.aborted) kubelet(next);
        },
        fromMs + (untilMs - fromMs) * 0.8 - Date.now(),
      );
      ends.signal.addEventListener('abort', () => clearTimeout(timer));
    };
    kubelet(readFileSync(options.tokenFile, 'utf8').trim());
    await waitFor(() => bus.connects >= 3, { what: 'two renewals', state: () => events });
    ends.abort();
    return { events, sent: await fire.cease(), stoodStillMs: await pace.cease() };
  };
  let all = 0;
  for (let tries = 1; ; tries += 1) {
    const { events, sent, stoodStillMs } = await renewed();
    all += sent;
    expect(sent).toBeGreaterThan(100);
    expect(await distinct(admin)).toBe(all);
    const refused = events.filter((name) => name === 'BUS_AUTHENTICATION');
    // A pause of the machine at the wrong time makes a token expire that was replaced in time.
    if (refused.length > 0 && stoodStillMs > IN_TIME_MS && tries < MAX_TRIES) continue;
    expect(refused, `the machine stood still for ${stoodStillMs} ms`).toEqual([]);
    break;
  }
});
const MAX_TRIES = 5;

test('a token that is replaced too late ends the connection; frames wait and are published with the next token', async () => {
  await using rig = await AuthRig.start();
  await rig.busAuth();
  const admin = await rig.topology();
  // Until it is logged in before its token expires.
  const [options, bus] = await waitFor(
    async () => {
      const shown = await rig.collector(A, { seconds: 2 });
      return [shown, await rig.connect(shown)] as const;
    },
    { what: 'it to log in' },
  );
  const events = reported(bus);
  const fire = new Fire(bus);
  await waitFor(() => events.includes('disconnected'), { what: 'the server to end it', state: () => events });
  expect(events[0]).toBe('BUS_AUTHENTICATION');
  await waitFor(() => fire.unacked > 20, { what: 'frames to wait' });
  const before = await stored(admin);
  rig.write(path.basename(options.tokenFile), await rig.tokenOf(A, { seconds: 600 }));
  await waitFor(() => events.includes('connected'), { what: 'the next token to be used', state: () => events });
  const sent = await fire.cease();
  expect(await distinct(admin)).toBe(sent);
  expect(before).toBeLessThan(sent);
});

test('while bus-auth is down connections stay, collectors wait and log in when it is back, and fixed users are not affected', async () => {
  await using rig = await AuthRig.start();
  const admin = await rig.topology();
  const first = await rig.busAuth();
  const inside = await rig.connect(await rig.collector(A));
  const events = reported(inside);
  expect(await first.stop()).toBe(0);
  const refusals: string[] = [];
  const waiting = connectBus({
    ...(await rig.collector(B)),
    waitForServer: true,
    onRetry: (error) => refusals.push(error.code),
  });
  const fire = new Fire(inside);
  expect(await rig.login('correlator', 'password-of-correlator')).toBe('in');
  expect(await rig.login('correlator', 'wrong')).toBe('BUS_AUTHENTICATION');
  // Not always at once: on a busy machine the client's timeout can end before the server's.
  await waitFor(() => refusals.includes('BUS_AUTHENTICATION'), {
    what: 'a collector to be refused',
    state: () => refusals,
  });
  await waitFor(() => fire.acked > 10, { what: 'frames of the connected collector' });
  await rig.busAuth();
  const late = await waiting;
  expect(late.connected).toBe(true);
  await late.close();
  const sent = await fire.cease();
  expect(await stored(admin)).toBe(sent);
  expect(events).toEqual([]);
}, 300_000);

test('replicas share a fleet that logs in at once, and one of them is enough', async () => {
  await using rig = await AuthRig.start();
  const [one, two] = [await rig.busAuth(), await rig.busAuth()];
  const token = await rig.tokenOf(A);
  /**
   * All log in. A login refused because the machine was too slow is retried, as a collector does.
   * @returns attempts
   */
  const fleet = async (n: number) => {
    let tries = 0;
    const member = async () => {
      tries += 1;
      return (await rig.login(AS_A, token)) === 'in';
    };
    // With pauses: a machine that is too slow for all of them would stay so.
    const patient = { what: 'one of a fleet to log in', timeoutMs: NEXT_LOGIN_MS, intervalMs: 500 };
    await Promise.all(Array.from({ length: n }, () => waitFor(member, patient)));
    return tries;
  };
  /** One for each attempt, and no more. */
  const expectGranted = (granted: number, n: number, tries: number) => {
    expect(granted).toBeGreaterThanOrEqual(n);
    expect(granted).toBeLessThanOrEqual(tries);
  };
  const tries = await fleet(60);
  const [byOne, byTwo] = [await one.metric('granted_total'), await two.metric('granted_total')];
  expectGranted(byOne + byTwo, 60, tries);
  expect(Math.min(byOne, byTwo)).toBeGreaterThan(0);
  await one.stop();
  const triesAgain = await fleet(10);
  expectGranted((await two.metric('granted_total')) - byTwo, 10, triesAgain);
});

test('with a failing or hanging API server logins are refused and readiness shows it; logins work again when it recovers', async () => {
  await using rig = await AuthRig.start();
  const auth = await rig.busAuth();
  const tokenreviews = { resource: 'tokenreviews', times: Number.POSITIVE_INFINITY };
  for (const [spec, reason] of [
    [{ status: 503 }, 'api-unreachable'],
    [{ hold: true }, 'api-unreachable'],
    [{ status: 403 }, 'api-forbidden'],
  ] as const) {
    const fault = rig.kube.server.faults.inject({ ...tokenreviews, ...spec });
    const before = await auth.metric(`refused_total{reason="${reason}"}`);
    expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('BUS_AUTHENTICATION');
    expect(await auth.metric(`refused_total{reason="${reason}"}`)).toBe(before + 1);
    // The result of its own periodic check may be the last one.
    const printed = reason === 'api-forbidden' ? 'may not create TokenReviews' : 'cannot be reached';
    const isNotReady = async () => {
      const { ok, checks } = await auth.ready();
      return !ok && checks['bus'] === 'ok' && checks['kubernetes']?.includes(printed);
    };
    await waitFor(isNotReady, { what: `it to report ${printed}`, state: auth.ready });
    fault.remove();
    expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('in');
    await waitFor(async () => (await auth.ready()).ok, { what: 'it to be ready again', state: auth.ready });
  }
  // Failures of the API server do not count against the address.
  expect(await auth.metric('refused_total{reason="rate-limited"}')).toBe(0);
});

test('without the right to review tokens it is never ready, and reports the reason', async () => {
  await using rig = await AuthRig.start();
  const auth = await rig.busAuth(['--kubeconfig', rig.kube.server.kubeconfigPath('no-rights')], 'started');
  const ready = await waitFor(async () => {
    const report = await auth.ready();
    return report.checks['kubernetes']?.includes('may not create TokenReviews') && report;
  });
  expect(ready.ok).toBe(false);
});

test('credentials are rotated on servers with TLS: no client is disconnected at any step, and the old ones are refused', async () => {
  const out = temporaryDirectory();
  const step = async (...args: string[]) => {
    const { exitCode, stderr } = await runCli(['credentials', ...args, '--out', out]);
    expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
    return load(out);
  };
  const first = await step('init');
  await using rig = await AuthRig.start({ nats: { ...accessOf(first), tls: tlsIn(out) } });
  const tls = { caFile: path.join(out, 'ca.crt') };
  const fixed = (user: string) => ({
    servers: rig.nats.url,
    user,
    passwordFile: path.join(out, 'users', `${user}.password`),
    name: `test ${user}`,
    tls,
  });
  const file = (name: string) => path.join(out, name);
  const flags = ['--nats-ca-file', tls.caFile, '--nats-password-file', fixed('bus-auth').passwordFile];
  await rig.busAuth([...flags, '--issuer-seed-file', file('issuer.seed'), '--xkey-seed-file', file('xkey.seed')]);
  const correlator = await rig.connect(fixed('correlator'));
  const admin = await rig.connect(fixed('admin'));
  await ensureTopology(admin);
  const collector = await rig.connect({ ...(await rig.collector(A)), tls });
  const fire = new Fire(collector);
  const [old] = first.users['correlator']?.passwords ?? [];
  const login = async (how: object) => {
    const bus = await connectBus({ ...fixed('correlator'), passwordFile: undefined, ...how });
    await bus.close();
  };

  // Clients have the next secrets, and the servers accept the old ones: every login succeeds.
  const prepared = await step('rotate', '--ca');
  await rig.nats.reload({ ...accessOf(prepared) });
  for (const options of [fixed('correlator'), fixed('admin'), { ...(await rig.collector(B)), tls }]) {
    await (await rig.connect(options)).close();
  }
  expect(correlator.connects).toBe(1);

  const finished = await step('rotate', '--finish');
  await rig.nats.reload({ ...accessOf(finished) });
  await waitFor(() => correlator.connects > 1 && correlator.connected, { what: 'the correlator to be back' });
  // bus-auth was disconnected too. Until it is back, logins of new collectors are refused and
  // retried.
  const { user = '', tokenFile } = await rig.collector(B);
  const isIn = async () => (await rig.login(user, readFileSync(tokenFile, 'utf8'), { tls })) === 'in';
  await waitFor(isIn, { what: 'a new collector to log in' });
  await waitFor(() => collector.connected, { what: 'the collector to log in', timeoutMs: NEXT_LOGIN_MS });
  await expect(login({ password: old })).rejects.toMatchObject({ code: 'BUS_AUTHENTICATION' });
  await login({ password: finished.users['correlator']?.passwords[0] });
  // The new authority signed the certificate; a client that trusts only the old one does not
  // connect.
  const trusts = (index: number) => ({
    ...fixed('correlator'),
    tls: { ca: finished.authorities[index]?.certificate },
  });
  await login(trusts(0));
  await expect(connectBus(trusts(1))).rejects.toThrow();

  // Keys need a restart. bus-auth has both and signs with the one that the server trusts.
  const keys = await step('rotate', '--keys');
  expect(keys.issuers[1]).toBe(finished.issuers[0]);
  await (await rig.connect({ ...(await rig.collector(B)), tls })).close();
  const restarted = await step('rotate', '--finish');
  expect(accessOf(restarted).authCallout?.issuer).not.toBe(accessOf(finished).authCallout?.issuer);
  const before = collector.connects;
  await rig.nats.restart({ ...accessOf(restarted) });
  const isBack = () => collector.connects > before && collector.connected;
  await waitFor(isBack, { what: 'the collector to be back', timeoutMs: NEXT_LOGIN_MS });
  await (await rig.connect({ ...(await rig.collector(B)), tls })).close();
  const sent = await fire.cease();
  await waitFor(() => admin.connected, { what: 'the administrator to be back' });
  expect(await distinct(admin)).toBe(sent);
}, 300_000);

test('in a cluster any server uses any bus-auth, and a collector moves to another server when its own stops', async () => {
  const out = temporaryDirectory();
  const { exitCode } = await runCli(['credentials', 'init', '--out', out]);
  expect(exitCode).toBe(0);
  const credentials = await load(out);
  const tls = tlsIn(out);
  const ports = await Promise.all(['a', 'b', 'c'].map(async () => freePort()));
  const routes = ports.map((port) => `127.0.0.1:${port}`);
  const conf = (index: number) => ({
    ...accessOf(credentials),
    tls,
    serverName: `nats-${index}`,
    cluster: { name: 'bailiff', port: ports[index] as number, routes, user: 'route', password: 'p@ss:word/', tls },
  });
  await using rig = await AuthRig.start({ nats: conf(0) });
  await using second = await startNats(conf(1));
  await using third = await startNats(conf(2));
  const client = { tls: { caFile: path.join(out, 'ca.crt') } };
  const fixed = (user: string) => ({ user, passwordFile: path.join(out, 'users', `${user}.password`), ...client });
  const file = (name: string) => path.join(out, name);
  await rig.busAuth([
    ...['--nats-url', rig.nats.url, '--nats-ca-file', client.tls.caFile],
    ...['--nats-password-file', fixed('bus-auth').passwordFile],
    ...['--issuer-seed-file', file('issuer.seed'), '--xkey-seed-file', file('xkey.seed')],
  ]);
  const admin = await rig.connect({ ...fixed('admin'), servers: rig.nats.url, name: 'admin' });
  await waitFor(() => ensureTopology(admin, { replicas: 3 }).then(() => true), {
    what: 'streams on three servers',
    timeoutMs: 30_000,
    intervalMs: 250,
  });
  const servers = [second.url, third.url];
  const collector = await rig.connect({ ...(await rig.collector(A)), servers, ...client, timeoutMs: 5_000 });
  const where = collector.nc.info?.server_name;
  const fire = new Fire(collector);
  await waitFor(() => fire.acked > 10, { what: 'frames in the cluster' });
  await (where === 'nats-1' ? second : third).kill();
  await waitFor(() => collector.connects > 1 && collector.connected, { what: 'the collector at the other server' });
  expect(collector.nc.info?.server_name).not.toBe(where);
  const sent = await fire.cease();
  expect(await distinct(admin)).toBe(sent);
}, 120_000);
