// Alerts from the relay to the distribution's Alertmanager, which notifies a webhook receiver.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openBucket } from '@bailiff/bus';
import { samplePodIdentity } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { ActiveAlerts, labelsOf } from '../../apps/siem-relay/src/alertmanager/alerts.ts';
import { sampleFacts } from '../../apps/siem-relay/src/outputs/testing.ts';
import { chooseClock, daysAhead } from '../../tools/clock/ahead.ts';
import { Alertmanager } from './alertmanager.ts';
import { HttpReceiver, type Received } from './http-receiver.ts';
import { launchRelay, NODE, RelayRig } from './siem-relay-rig.ts';

const POD = { uid: 'pod-uid-1', namespace: 'shop', name: 'web-0', ownerKind: '', ownerName: '', ownerUid: '' };
const VERDICT = { verdictId: 'a'.repeat(32), rule: 'spoof-flood', level: 'high', pod: POD } as const;

const flags = (servers: readonly Alertmanager[], more: readonly string[] = []) => [
  ...['--alertmanager.urls', servers.map(({ url }) => url).join(','), '--alertmanager.resend-ms', '1000'],
  ...more,
];
const state = (server: Alertmanager) => () => server.notifications();

it('alertmanager - notifies of a verdict and what was done, and that its pod is gone', async () => {
  await using rig = await RelayRig.start();
  await using server = await new Alertmanager().start();
  const pods = openBucket(rig.admin, 'bailiff_pods');
  const list = (uids: string[]) => {
    const listed = uids.map((uid) => samplePodIdentity({ uid, namespace: 'shop', name: 'web-0' }));
    return pods.put(NODE.replaceAll('.', '_'), JSON.stringify({ nodeName: NODE, revision: 1, pods: listed }));
  };
  await list([POD.uid]);
  await rig.relay(flags([server], ['--alertmanager.generator-url', 'https://console.example/v/{verdictId}']));
  await rig.verdict({ ...VERDICT, reason: 'spoofed 12 packets' });
  await waitFor(() => server.notifications().length > 0, { what: 'a notification', timeoutMs: 30_000 });
  expect(server.notifications()[0]).toMatchObject({
    status: 'firing',
    alerts: [
      {
        labels: { alertname: 'BailiffVerdict', namespace: 'shop', pod: 'web-0', rule: 'spoof-flood', level: 'high' },
        annotations: { summary: 'spoof-flood: shop/web-0', description: 'spoofed 12 packets' },
        generatorURL: `https://console.example/v/${VERDICT.verdictId}`,
      },
    ],
  });
  const pod = { podUid: POD.uid, podNamespace: 'shop', podName: 'web-0' };
  await rig.response({ verdictId: VERDICT.verdictId, ...pod, action: 'delete', phase: 'succeeded', reason: '' });
  const responses = async () => (await server.firing()).map(({ annotations }) => annotations['response']);
  await waitFor(async () => (await responses())[0] === 'delete of shop/web-0 succeeded', {
    what: 'the response',
    state: responses,
  });
  // While the pod is listed, the alert outlives its own end of four intervals.
  const before = performance.now();
  await waitFor(async () => performance.now() - before > 5_000 && (await server.firing()).length === 1, {
    what: 'five seconds',
  });
  expect(server.notifications().every(({ status }) => status === 'firing')).toBe(true);
  // A list that cannot be read keeps the alerts of its own node alone.
  await pods.put('node-b', 'no list');
  await rig.verdict({
    ...VERDICT,
    verdictId: 'b'.repeat(32),
    nodeName: 'node-b',
    pod: { ...POD, uid: 'pod-uid-2', name: 'web-1' },
  });
  await waitFor(async () => (await server.firing()).length === 2, { what: 'the other alert', state: state(server) });
  await list([]);
  const isFiring = async (pod: string) => (await server.firing()).some(({ labels }) => labels['pod'] === pod);
  await waitFor(async () => !(await isFiring('web-0')), { what: 'the end of the first', timeoutMs: 30_000 });
  expect(await isFiring('web-1')).toBe(true);
  await pods.put('node-b', JSON.stringify({ nodeName: 'node-b', revision: 1, pods: [] }));
  await waitFor(() => server.notifications().at(-1)?.status === 'resolved', {
    what: 'the end',
    timeoutMs: 30_000,
    state: state(server),
  });
});

it('alertmanager - a pod that is gone at once is notified of all the same, also if the server waits first', async () => {
  await using rig = await RelayRig.start();
  await using server = await new Alertmanager('3s').start();
  const list = JSON.stringify({ nodeName: NODE, revision: 1, pods: [] });
  await openBucket(rig.admin, 'bailiff_pods').put(NODE.replaceAll('.', '_'), list);
  await rig.relay(flags([server]));
  // Of a verdict that is older than its wait, the server notifies at once.
  await rig.verdict({ ...VERDICT, triggeredAt: Date.now() * 1_000 });
  await waitFor(() => server.notifications().length > 0, { what: 'a notification', timeoutMs: 20_000 });
  expect(server.notifications()[0]?.status).toBe('firing');
  await waitFor(() => server.notifications().at(-1)?.status === 'resolved', { what: 'its end', timeoutMs: 30_000 });
});

it('alertmanager - each of two servers gets every alert, and one that was killed gets the active ones', async () => {
  await using rig = await RelayRig.start();
  await using a = await new Alertmanager().start();
  await using b = await new Alertmanager().start();
  const relay = await rig.relay(flags([a, b]));
  await b.kill();
  await rig.verdict(VERDICT);
  await rig.verdict({ ...VERDICT, verdictId: 'b'.repeat(32), pod: { ...POD, uid: 'pod-uid-2', name: 'web-1' } });
  const pods = (server: Alertmanager) => () =>
    new Set(server.notifications().flatMap(({ alerts }) => alerts.map(({ labels }) => labels['pod'])));
  await waitFor(() => pods(a)().size === 2, {
    what: 'both alerts at the other server',
    timeoutMs: 30_000,
    state: pods(a),
  });
  const output = `alertmanager-127-0-0-1-${b.port}`;
  await waitFor(async () => (await relay.metric(`output_failing{output="${output}"}`)) === 1, { what: 'failures' });
  await b.start();
  await waitFor(() => pods(b)().size === 2, { what: 'both alerts', timeoutMs: 60_000, state: pods(b) });
  await waitFor(async () => (await relay.metric(`output_failing{output="${output}"}`)) === 0, { what: 'no failures' });
});

it('alertmanager - an alert ends without the relay, and goes on with one that starts again', async () => {
  await using rig = await RelayRig.start();
  await using server = await new Alertmanager().start();
  const first = await rig.relay(flags([server]));
  await rig.verdict(VERDICT);
  await waitFor(async () => (await server.firing()).length === 1, { what: 'the alert', timeoutMs: 30_000 });
  await first.stop();
  await waitFor(async () => (await server.firing()).length === 0, { what: 'its end', timeoutMs: 30_000 });
  await rig.relay(flags([server]));
  await waitFor(async () => (await server.firing()).length === 1, { what: 'the alert again', timeoutMs: 30_000 });
});

it('alertmanager - an alert that the server refuses keeps no other back, also after a restart', async () => {
  await using rig = await RelayRig.start();
  await using server = await new HttpReceiver().start();
  const podsIn = ({ body }: Received) =>
    (JSON.parse(body.toString('utf8')) as { labels: { pod: string } }[]).map(({ labels }) => labels.pod);
  server.reply = (request) => ({ status: podsIn(request).includes('web-0') ? 400 : 200 });
  const output = `alertmanager-127-0-0-1-${server.port}`;
  const urls = ['--alertmanager.urls', server.url(), '--alertmanager.resend-ms', '1000'];
  const first = await rig.relay(urls);
  await rig.verdict(VERDICT);
  await rig.verdict({ ...VERDICT, verdictId: 'b'.repeat(32), pod: { ...POD, uid: 'pod-uid-2', name: 'web-1' } });
  const accepted = () => server.accepted.filter((request) => podsIn(request).includes('web-1')).length;
  await waitFor(() => accepted() >= 2, { what: 'the other alert and its repetition', timeoutMs: 30_000 });
  expect(await first.metric(`output_refused_total{output="${output}"}`)).toBe(1);
  await first.stop();
  const before = accepted();
  const again = await rig.relay(urls);
  await waitFor(() => accepted() >= before + 3, {
    what: 'its repetitions after the restart',
    timeoutMs: 20_000,
    state: () => again.log().slice(-2),
  });
  expect(await again.metric(`output_failing{output="${output}"}`)).toBe(0);
});

it('alertmanager - an alert ends by the time of the bus, whatever the clock of the relay shows', async () => {
  await using rig = await RelayRig.start();
  await using server = await new HttpReceiver().start();
  const endsMs = () =>
    server.accepted.flatMap(({ body }) =>
      (JSON.parse(body.toString('utf8')) as { endsAt: string }[]).map(({ endsAt }) => Date.parse(endsAt)),
    );
  const flags = [...rig.flags(), '--alertmanager.urls', server.url(), '--alertmanager.resend-ms', '1000'];
  const ahead: NodeJS.ProcessEnv = { BAILIFF_AHEAD: String(daysAhead(process.env) + 1) };
  chooseClock(ahead);
  const launch = async () => {
    vi.stubEnv('LD_PRELOAD', ahead['LD_PRELOAD']);
    try {
      return await launchRelay(flags);
    } finally {
      vi.unstubAllEnvs();
    }
  };
  const one = { what: 'an alert', timeoutMs: 30_000 };
  {
    await using _relay = await launch();
    await rig.verdict(VERDICT);
    await waitFor(() => endsMs().length > 0, one);
  }
  // It is restored: the verdict is younger than an alert without another one.
  const before = endsMs().length;
  await using _again = await launch();
  await waitFor(() => endsMs().length > before, one);
  for (const ms of endsMs()) expect(Math.abs(ms - Date.now())).toBeLessThan(300_000);
});

it('alertmanager - an alert is resolved also by a server whose clock is behind that of the bus', async () => {
  await using server = await new Alertmanager().start();
  const alerts = new ActiveAlerts({ resendMs: 60_000, resolveAfterMs: 120_000, generatorUrl: '' });
  const post = async (busMs: number) => {
    const body = JSON.stringify(alerts.due(busMs, 1).map(([, alert]) => alert));
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(`${server.url}/api/v2/alerts`, { method: 'POST', headers, body })).status).toBe(200);
    return (await server.firing()).length;
  };
  const busMs = Date.now() + 30_000;
  alerts.verdict(sampleFacts({ timeMs: busMs - 120_000 }), busMs - 120_000);
  expect(await post(busMs - 120_000)).toBe(1);
  expect(await post(busMs)).toBe(0);
  await waitFor(() => server.notifications().at(-1)?.status === 'resolved', { what: 'its end', state: state(server) });
});

it('alertmanager - the route in docs/siem/outputs.md leads verdicts to its receiver; routes by severity alone to none', () => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/siem/outputs.md'), 'utf8');
  const [own] = parse(/<!-- test: alertmanager route -->\n```yaml\n(.*?)```/s.exec(page)?.[1] ?? '') as object[];
  const bySeverity = { matchers: ['severity =~ "critical|warning"'], receiver: 'pager' };
  const file = path.join(temporaryDirectory(), 'alertmanager.yml');
  const labels = Object.entries(labelsOf(sampleFacts())).map(([name, value]) => `${name}=${value}`);
  const receiverBy = (routes: object[], of: readonly string[] = labels) => {
    const receivers = ['null', 'security', 'pager'].map((name) => ({ name }));
    writeFileSync(file, JSON.stringify({ route: { receiver: 'null', routes }, receivers }));
    const amtool = ['config', 'routes', 'test', `--config.file=${file}`, ...of];
    return execFileSync('amtool', amtool, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  };
  expect(receiverBy([bySeverity])).toBe('null');
  expect(receiverBy([own as object, bySeverity])).toBe('security');
  expect(receiverBy([own as object, bySeverity], ['alertname=BailiffHighVerdict', 'severity=warning'])).toBe('pager');
});
