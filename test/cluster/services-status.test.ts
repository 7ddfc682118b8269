/**
 * Output of `bailiff status` and `bailiff doctor` about services that are real processes: none runs
 * while work waits; hung; killed and restarted beside statuses of dead instances; stuck. Each case
 * begins and ends with the control, where everything is healthy.
 */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { apiRequest, consumeOrdered, streamInfo } from '@bailiff/bus';
import { type ApiServer, startApiServer } from '@bailiff/lab/apiserver';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { launchApp, type RunningProcess } from '../support/process.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { healthyStatus, NODE_A, NODE_B, verdictId, violationOf, WEB, World } from './cli/world.ts';
import { metricOf } from './ipam-sync/harness.ts';

const APPS = ['correlator', 'responder', 'ipam-sync'] as const;
type App = (typeof APPS)[number];
/** More than the maximum age of a valid status, and than the time limit of a verdict. */
const PATIENCE_MS = 120_000;
/** Status and doctor need a tenth of a second of a processor, in each of the concurrent cases. */
const LOOK_INTERVAL_MS = 1_500;

const SHORT_LEASE: readonly string[] = [
  '--lease-duration-ms',
  '1500',
  '--renew-deadline-ms',
  '1000',
  '--retry-ms',
  '200',
];
/** As a bug would: an error that nothing catches. */
const THROWS_ON_SIGUSR2 = [
  '--import',
  `data:text/javascript,process.on('SIGUSR2',()=>setImmediate(()=>{throw new TypeError('a bug')}))`,
];

/** The services of one bus and one API server. Cases run concurrently, so they share nothing. */
class Services implements AsyncDisposable {
  readonly world: World;
  readonly redis: TestRedis;
  readonly api: ApiServer;
  readonly directory: string;
  readonly #running: [App, RunningProcess][] = [];
  #nodes = 0;

  private constructor(world: World, redis: TestRedis, api: ApiServer, directory: string) {
    this.world = world;
    this.redis = redis;
    this.api = api;
    this.directory = directory;
  }

  static async start(apps: readonly App[] = APPS): Promise<Services> {
    const directory = temporaryDirectory();
    const [world, redis, api] = await Promise.all([
      World.start(),
      startRedis(),
      startApiServer({ certDir: path.join(directory, 'certs') }),
    ]);
    api.api.create('namespaces', { metadata: { name: 'bailiff-system' } });
    const services = new Services(world, redis, api, directory);
    for (const app of apps) services.launch(app);
    await services.ready();
    return services;
  }

  launch(app: App, api = this.api, nodeFlags: readonly string[] = [], lease = SHORT_LEASE): RunningProcess {
    const password = path.join(this.directory, `${app}.password`);
    writeFileSync(password, `password-of-${app}`, { mode: 0o600 });
    const kube = ['--kubeconfig', api.kubeconfigPath()];
    const own: Record<App, string[]> = {
      correlator: [],
      responder: [...kube, '--redis-url', this.redis.url],
      'ipam-sync': [...kube, ...lease],
    };
    const bus = ['--nats-url', this.world.nats.url, '--nats-password-file', password];
    const running = launchApp(app, [...bus, '--metrics-address', '127.0.0.1:0', ...own[app]], nodeFlags);
    this.#running.push([app, running]);
    return running;
  }

  /** It has ended. */
  forget(running: RunningProcess): void {
    this.#running.splice(
      this.#running.findIndex(([, one]) => one === running),
      1,
    );
  }

  async ready(): Promise<void> {
    for (const [, { logged }] of this.#running) await logged('ready', PATIENCE_MS);
  }

  metric(app: App, name: string): Promise<number> {
    const running = this.#running.find(([one]) => one === app)?.[1];
    return metricOf(/"metricsAddress":"([^"]+)"/.exec(running?.out() ?? '')?.[1] ?? '', name);
  }

  async signal(signal: NodeJS.Signals, apps: readonly App[] = APPS): Promise<void> {
    const those = this.#running.filter(([app]) => apps.includes(app));
    for (const [, { child }] of those) child.kill(signal);
    if (signal !== 'SIGTERM' && signal !== 'SIGKILL') return;
    for (const one of those) {
      await one[1].exit;
      this.#running.splice(this.#running.indexOf(one), 1);
    }
  }

  /**
   * A frame, a verdict to which the built-in policy responds, and a node whose list must be
   * written.
   */
  async work(n: number): Promise<void> {
    await this.world.frame(NODE_A, [violationOf(this.world.t0Micros, WEB, { counterEpoch: `boot/${n}` })]);
    await this.world.verdict({ verdictId: verdictId(n), evidence: [], level: 'high' });
    this.#nodes += 1;
    this.api.api.create('nodes', { metadata: { name: `node-${this.#nodes}` } });
  }

  /** Output for the operator. */
  async seen(): Promise<{ status: number; text: string; doctor: number; findings: string }> {
    // A silent node would be another reason for the exit code.
    for (const node of [NODE_A, NODE_B]) await this.world.status(healthyStatus(node));
    for (const name of this.api.api.list('nodes').items.map(({ metadata }) => metadata.name))
      await this.world.status(healthyStatus(name));
    const status = await this.world.cli(['status']);
    const doctor = await this.world.cli(['doctor', '--only', 'bus']);
    const text = status.stdout + status.stderr;
    return { status: status.exitCode, text, doctor: doctor.exitCode, findings: doctor.stdout };
  }

  /** Waits until both report it; a failure prints their last output. */
  async shows(what: string, is: (seen: Awaited<ReturnType<Services['seen']>>) => boolean) {
    let last: unknown;
    const look = async () => {
      const seen = await this.seen();
      last = seen;
      return is(seen) && seen;
    };
    return waitFor(look, { what, timeoutMs: PATIENCE_MS, intervalMs: LOOK_INTERVAL_MS, state: () => last });
  }

  /** The control: all started replicas run, nothing waits, and the exit codes are 0. */
  async well(replicas = 1): Promise<void> {
    const lines = [
      `correlator: ${replicas} running, up to date`,
      `responder: ${replicas} running, up to date`,
      `ipam-sync: ${replicas} running, 1 leads, up to date`,
    ];
    const { text } = await this.shows(
      'all to be healthy',
      (seen) =>
        seen.status === 0 &&
        seen.doctor === 0 &&
        lines.every((line) => seen.text.includes(line) && seen.findings.includes(`✓ ${line}`)),
    );
    expect(text).not.toMatch(/[✗!] (correlator|responder|ipam-sync)/);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.map(([, one]) => one.kill()));
    await Promise.all([this.redis[Symbol.asyncDispose](), this.world[Symbol.asyncDispose](), this.api.close()]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

// Each case waits half a minute or more for a status to age, so they run concurrently.
describe.concurrent('services', () => {
  it('none runs and work waits - both show the waiting work and exit with 7; healthy before and after', async () => {
    await using services = await Services.start();
    await services.work(1);
    await services.well();
    await services.signal('SIGTERM');
    await services.work(2);
    await services.work(3);
    const { status, doctor, text, findings } = await services.seen();
    expect([status, doctor]).toEqual([7, 7]);
    for (const shown of [text, findings]) {
      expect(shown).toMatch(/✗ correlator: 0 running: .*no verdicts are published; 2 frames not judged, oldest \d+s/);
      expect(shown).toMatch(/✗ responder: 0 running: verdicts get no response; 2 verdicts not read, oldest \d+s/);
      expect(shown).toMatch(/✗ ipam-sync: 0 running: nodes keep their last pod snapshot/);
    }
    for (const app of APPS) services.launch(app);
    await services.ready();
    await services.well();
  }, 300_000);

  it('hung - both show for how long each has published nothing, and the waiting work; healthy before and after', async () => {
    await using services = await Services.start();
    await services.work(1);
    await services.well();
    await services.signal('SIGSTOP');
    await services.work(2);
    const { doctor, text, findings } = await services.shows(
      'all to be reported silent, and the verdict without a response',
      (seen) =>
        seen.status === 7 &&
        (seen.text.match(/0 running, 1 without/g) ?? []).length === 6 &&
        /without a response/.test(seen.text),
    );
    expect(doctor).toBe(7);
    const silent =
      /0 running, 1 without a status for \d+s \(hung, killed, or cut off from the bus, such as by a refused login\)/
        .source;
    for (const shown of [text, findings]) {
      expect(shown).toMatch(new RegExp(`✗ correlator: ${silent}: .*; up to [12] frames? not judged, oldest \\d+s`));
      expect(shown).toMatch(
        new RegExp(`✗ responder: ${silent}: .*; up to [12] verdicts? not read, .*1 verdict without a response`),
      );
      expect(shown).toMatch(new RegExp(`✗ ipam-sync: ${silent}`));
    }
    expect(text).toMatch(/responder: .*; 1 of 2 due verdicts answered|responder: .*; 0 of 1 due verdict answered/);
    await services.signal('SIGCONT');
    await services.well();
  }, 300_000);

  it('two replicas after everything was killed - consumers and statuses of dead instances are not counted', async () => {
    await using services = await Services.start();
    for (const app of APPS) services.launch(app);
    await services.ready();
    await services.work(1);
    await services.well(2);
    await services.signal('SIGKILL');
    await services.world.nats.restart();
    for (const app of [...APPS, ...APPS]) services.launch(app);
    await services.ready();
    // Stream followers of a dead instance: with them, two replicas had three readers.
    const bus = await services.world.as('admin');
    await bus.whenConnected();
    const end = new AbortController();
    const following = consumeOrdered(bus, 'VIOLATIONS', {
      start: 'new',
      onMessage: () => undefined,
      signal: end.signal,
    });
    await waitFor(async () => (await streamInfo(bus, 'VIOLATIONS')).state.consumer_count >= 3, {
      what: 'three consumers',
    });
    await services.well(2);
    end.abort();
    await following;
  }, 300_000);

  it.each<[string, NodeJS.Signals]>([
    ['is killed', 'SIGKILL'],
    ['fails with an error', 'SIGUSR2'],
  ])(
    'a correlator that %s again and again - both warn from the third time on',
    async (_, signal) => {
      await using services = await Services.start(['responder', 'ipam-sync']);
      const launched = () => services.launch('correlator', undefined, THROWS_ON_SIGUSR2);
      let correlator = launched();
      await services.ready();
      await services.well();
      for (let n = 0; n < 3; n += 1) {
        const { text } = await services.seen();
        expect(text).not.toMatch(/crashes within/);
        await correlator.kill(signal);
        services.forget(correlator);
        correlator = launched();
        await services.ready();
      }
      const { text, findings } = await services.shows('the crashes', (seen) => /crashes within/.test(seen.text));
      for (const shown of [text, findings])
        expect(shown).toMatch(/! correlator: 3 crashes within 10m: it starts again/);
    },
    300_000,
  );

  it('ipam-sync changes hands, and a node was removed long ago - status names neither, however the leader ends', async () => {
    await using services = await Services.start();
    const { world } = services;
    for (const name of [NODE_A, NODE_B]) services.api.api.create('nodes', { metadata: { name } });
    // Silent also by the last report of the leader that ends.
    const updatedAt = new Date(Date.now() - 3_600_000).toISOString();
    await world.status(healthyStatus('removed', { updatedAt }));
    await services.well();
    await services.shows('the node to be removed', ({ status, text }) => status === 0 && /1 removed node/.test(text));
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await services.signal(signal, ['ipam-sync']);
      services.launch('ipam-sync', undefined, [], []);
      const endedMs = performance.now();
      const passedMs = () => performance.now() - endedMs;
      while (passedMs() < 20_000) {
        const { text } = await services.seen();
        expect(text).not.toMatch(/removed: silent/);
        // Later, that none leads may be true: on a busy machine the next one takes longer.
        if (passedMs() < 25_000) expect(text).not.toMatch(/none leads: /);
      }
      await services.shows('a leader', ({ status, text }) => status === 0 && /1 leads/.test(text));
    }
  }, 300_000);

  it('a correlator that cannot continue - both show since when it makes no progress, and the waiting work; so does its metric', async () => {
    await using services = await Services.start(['correlator', 'ipam-sync']);
    const { world } = services;
    expect(await services.metric('correlator', 'bailiff_correlator_stalled_seconds')).toBe(0);
    // A frame is judged only with the configuration up to a second before it, which the correlator may have read already.
    await apiRequest(await world.as('admin'), '$JS.API.STREAM.DELETE.CONFIG_LOG');
    const waits = async () => {
      await world.frame(NODE_A, [violationOf(world.t0Micros, WEB)]);
      return (await services.metric('correlator', 'bailiff_correlator_stalled_seconds')) > 0;
    };
    await waitFor(waits, { what: 'a frame that waits' });
    const seen = await services.shows('the correlator to be reported as stuck', ({ text }) =>
      /not progressing/.test(text),
    );
    expect(seen.status).toBe(7);
    expect(seen.text).toMatch(/✗ correlator: 1 running, not progressing for \d+s: \d+ frames? not judged, oldest \d+s/);
    expect(await services.metric('correlator', 'bailiff_correlator_stalled_seconds')).toBeGreaterThan(30);
  }, 300_000);

  it('an ipam-sync whose lists the bus refuses - the same for the lists', async () => {
    await using services = await Services.start(['ipam-sync']);
    const { world } = services;
    await services.shows('ipam-sync to be healthy', ({ text }) =>
      /ipam-sync: 1 running, 1 leads, up to date/.test(text),
    );
    const admin = await world.as('admin');
    const { config } = await streamInfo(admin, 'KV_bailiff_pods');
    await apiRequest(admin, '$JS.API.STREAM.UPDATE.KV_bailiff_pods', { ...config, max_msg_size: 1 });
    await services.work(1);
    const seen = await services.shows('ipam-sync to be reported as stuck', ({ text }) =>
      /✗ ipam-sync: .*not progr/.test(text),
    );
    expect(seen.text).toMatch(/✗ ipam-sync: 1 running, not progressing for \d+s: \d+ snapshots? not written/);
    expect(seen.findings).toMatch(/✗ ipam-sync: 1 running, not progressing/);
    await apiRequest(admin, '$JS.API.STREAM.UPDATE.KV_bailiff_pods', config);
    await services.shows('ipam-sync to be healthy again', ({ text }) =>
      /ipam-sync: 1 running, 1 leads, up to date/.test(text),
    );
  }, 300_000);

  it('Redis is unavailable and no verdict waits - status --wait fails at once, both after 15 s, until Redis is back', async () => {
    await using services = await Services.start();
    const { world } = services;
    await services.well();
    const waited = async () => {
      await services.seen();
      return (await world.cli(['status', '--wait', '1s'])).exitCode;
    };
    expect(await waited()).toBe(0);
    await services.redis.kill();
    await services.shows('Redis to be named', ({ text }) => /responder: .*not ready \(redis: /.test(text));
    expect(await waited()).toBe(7);
    // It has run for a minute: before, it could be starting.
    const { text, findings } = await services.shows('a failure', (seen) => seen.status === 7 && seen.doctor === 7);
    for (const shown of [text, findings])
      expect(shown).toMatch(/✗ responder: 1 running, none ready for \d+s: redis: Redis is not reachable/);
    await services.redis.start();
    await services.well();
    expect(await waited()).toBe(0);
  }, 300_000);

  it('an ipam-sync with the API server of another cluster leads too - both show two leaders, until it ends', async () => {
    await using services = await Services.start(['ipam-sync']);
    const one = 'ipam-sync: 1 running, 1 leads, up to date';
    await services.shows('one leader', ({ text }) => text.includes(one));
    const other = await startApiServer({ certDir: path.join(services.directory, 'other') });
    try {
      other.api.create('namespaces', { metadata: { name: 'bailiff-system' } });
      const foreign = services.launch('ipam-sync', other);
      const { text, findings } = await services.shows(
        'two leaders',
        (seen) => seen.status === 7 && seen.doctor === 7 && /2 lead,/.test(seen.text),
      );
      for (const shown of [text, findings])
        expect(shown).toMatch(/✗ ipam-sync: 2 lead: they use .* different clusters/);
      foreign.child.kill('SIGTERM');
      await foreign.exit;
      await services.shows('one leader', ({ text, findings }) => text.includes(one) && findings.includes(`✓ ${one}`));
    } finally {
      await other.close();
    }
  }, 300_000);

  it('a verdict with one step done while Redis is unavailable - status, doctor and the metric have one number', async () => {
    await using services = await Services.start();
    const { world } = services;
    await services.well();
    await services.redis.kill();
    const verdict = await world.verdict({ verdictId: verdictId(7), evidence: [], level: 'high' });
    await world.response(verdict, { action: 'observe', phase: 'succeeded' });
    const metric = () => services.metric('responder', 'bailiff_responder_unanswered_verdicts');
    await waitFor(async () => (await metric()) === 1, { what: 'the metric', timeoutMs: PATIENCE_MS, intervalMs: 500 });
    // Instances publish their state every few seconds: wait for it.
    const { status, doctor, text, findings } = await services.shows('Redis to be reported as unavailable', (seen) =>
      /responder: .*not ready \(redis: /.test(seen.text),
    );
    expect([status, doctor]).toEqual([7, 7]);
    expect(text).toMatch(/responder: 1 running, not ready \(redis: .*; 0 of 1 due verdict answered/);
    expect(findings).toMatch(/✗ responder: (1 running, none ready .*; )?1 verdict without a response/);
    const json = JSON.parse((await world.cli(['status', '--json'])).stdout);
    expect(json.services.responder).toMatchObject({ due: 1, unanswered: 1, unansweredIds: [verdict.verdictId] });
    await services.redis.start();
    await waitFor(async () => (await metric()) === 0, {
      what: 'the verdict to get its response',
      timeoutMs: PATIENCE_MS,
    });
    await services.shows(
      'all to be healthy',
      ({ status, doctor, findings }) =>
        status === 0 &&
        doctor === 0 &&
        /✓ responder: 1 running, up to date; 1 of 1 due verdict answered/.test(findings),
    );
  }, 300_000);
});
