// The alerts of docs/on-call.md in a lab: each really fires in Prometheus, its commands show the cause, and after
// the step of "Act" the alert ends and "Be sure" agrees. Alerts wait no time here, and rates are of seconds.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { apiRequest, ensureTopology } from '@bailiff/bus';
import { CHECKOUT, exec, type Lab, startLab } from '@bailiff/lab';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliRun, runCli } from '../../apps/cli/src/testing.ts';
import { ALERTS_FILE } from '../../tools/promql.ts';
import { LabPrometheus } from '../support/lab-prometheus.ts';
import { bailiff, kubectl, uniqueId } from './support.ts';

const [FIRST, SECOND] = ['node-0', 'node-1.lab.internal'] as const;
const CHILDREN = {
  first: `collector-${FIRST}`,
  second: `collector-${SECOND}`,
  correlator: 'correlator',
  responder: 'responder',
  'ipam-sync': 'ipam-sync',
};
const PATIENCE_MS = 180_000;
const WELL = [0, 10];
/** Alerts that do not fire here, and the file that has their cause. */
const ELSEWHERE = { BailiffPodsUnguarded: 'test/cluster/collector-cni.test.ts: a lab has no plugin of Bailiff' };

const PAGE = readFileSync(path.join(CHECKOUT, 'docs/on-call.md'), 'utf8');
const sections = new Map(PAGE.split('\n## ').map((section) => [section.split('\n', 1)[0] as string, section]));
const tried = new Set(Object.keys(ELSEWHERE));

let lab: Lab;
let prometheus: LabPrometheus;
let directory: string;
let freeDisk = 0.5;

beforeAll(async () => {
  directory = temporaryDirectory();
  const rulesFile = path.join(directory, 'alerts.yaml');
  const rules = readFileSync(ALERTS_FILE, 'utf8').replaceAll(/ for: \w+/g, ' for: 0s');
  writeFileSync(rulesFile, rules.replaceAll('[5m]', '[15s]'));
  lab = await startLab({ id: uniqueId('o'), nodes: 2, podsPerNode: 2 });
  const labels = '{namespace="bailiff-system",persistentvolumeclaim="data-bailiff-nats-0"}';
  const kubelet = () =>
    `kubelet_volume_stats_available_bytes${labels} ${freeDisk}\nkubelet_volume_stats_capacity_bytes${labels} 1\n`;
  prometheus = new LabPrometheus(lab, CHILDREN, { rulesFile, pages: { kubelet } });
  await prometheus.start();
  await waitFor(async () => (await prometheus.valueOf('count(up == 1)')) === Object.keys(CHILDREN).length + 1, {
    what: 'all targets',
    timeoutMs: PATIENCE_MS,
    state: () => prometheus.scrapeErrors(),
  });
}, 2 * PATIENCE_MS);
afterAll(async () => {
  await prometheus?.close();
  await lab?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

/** Until the alert fires, or has ended. */
async function untilFires(alert: string, fires: boolean, labels = ''): Promise<void> {
  tried.add(alert);
  const expr = `ALERTS{alertstate="firing",alertname="${alert}"${labels}}`;
  await waitFor(async () => (await prometheus.query(expr)).length > 0 === fires, {
    what: `${alert} ${fires ? 'to fire' : 'to end'}`,
    timeoutMs: PATIENCE_MS,
    state: () => prometheus.query('ALERTS'),
  });
}

type Names = Readonly<Record<string, string>>;

/** Runs the first command `bailiff …` of a step, with the names of this lab. */
async function step(alert: string, part: 'Look' | 'Be sure', names: Names = {}, more: readonly string[] = []) {
  const [, text = ''] = new RegExp(`- \\*\\*${part}:\\*\\* (.*)`).exec(sections.get(alert) ?? '') ?? [];
  const [, command = ''] = /`bailiff ([^`]+)`/.exec(text) ?? [];
  expect(command, `${alert}, ${part}`).not.toBe('');
  const named = Object.entries(names).reduce((line, [name, value]) => line.replaceAll(name, value), command);
  return cli(...named.split(' '), ...more);
}

function cli(...args: string[]): Promise<CliRun> {
  const { natsUrl, credentials } = lab.info();
  return runCli([...args, '--nats-url', natsUrl, '--nats-password-file', credentials.cli.passwordFile]);
}

const untilShown = (look: () => Promise<CliRun>, text: RegExp) =>
  waitFor(async () => text.test((await look()).stdout), {
    what: `${text}`,
    timeoutMs: PATIENCE_MS,
    intervalMs: 1_000,
    state: async () => (await look()).stdout,
  });

const stop = (child: string) => process.kill(lab.child(child).pid, 'SIGSTOP');
const go = (child: string) => process.kill(lab.child(child).pid, 'SIGCONT');
/** As a restart of its pod: the lab starts it again. */
const restart = (child: string) => process.kill(lab.child(child).pid, 'SIGKILL');
const attack = (pod: string) => bailiff('lab', 'attack', pod, '--lab', lab.id, '--count', '20', '--json');
const podsOf = (node: string) => lab.pods().filter((pod) => pod.node === node);
const onNode = (node: string, ...args: string[]) => {
  const { netns, bpfDir, stateDir } = lab.node(node);
  const collector = path.join(CHECKOUT, 'apps/collector/dist/main.mjs');
  const flags = ['--bpf-dir', bpfDir, '--state-dir', stateDir];
  return exec('ip', ['netns', 'exec', netns, process.execPath, collector, ...args, ...flags], { timeoutMs: 60_000 });
};

it('BailiffViolationsNotSent - fires while the bus hangs, and ends after it goes on', {
  timeout: 5 * PATIENCE_MS,
}, async () => {
  stop('nats');
  try {
    const [pod] = podsOf(FIRST);
    // The attack itself does not need the bus; its report may.
    await attack(pod?.name ?? '').catch((error: Error) => expect(error.message).toMatch(/./));
    await untilFires('BailiffViolationsNotSent', true, `,instance="${CHILDREN.first}"`);
    expect((await cli('status', '--timeout', '2s')).exitCode).toBe(7);
  } finally {
    go('nats');
  }
  expect(WELL).toContain((await step('BailiffViolationsNotSent', 'Be sure')).exitCode);
  await untilFires('BailiffViolationsNotSent', false);
});

it('BailiffAppGone - fires for an app that hangs, and ends after its restart', {
  timeout: 4 * PATIENCE_MS,
}, async () => {
  stop(CHILDREN.correlator);
  await untilFires('BailiffAppGone', true, ',app="correlator"');
  restart(CHILDREN.correlator);
  expect(WELL).toContain((await step('BailiffAppGone', 'Be sure')).exitCode);
  await untilFires('BailiffAppGone', false);
});

it('BailiffCollectorDown, BailiffNodesWithoutCollector - fire for one node, whose restarted collector is ok', {
  timeout: 5 * PATIENCE_MS,
}, async () => {
  stop(CHILDREN.second);
  const node = { '<node>': SECOND };
  await untilFires('BailiffCollectorDown', true, `,instance="${CHILDREN.second}"`);
  await untilFires('BailiffNodesWithoutCollector', true);
  await untilShown(() => step('BailiffNodesWithoutCollector', 'Look'), new RegExp(`${SECOND} +silent`));
  restart(CHILDREN.second);
  await untilShown(() => step('BailiffCollectorDown', 'Be sure', node), new RegExp(`${SECOND} +(ok|not enforced)`));
  await untilFires('BailiffCollectorDown', false);
  await untilFires('BailiffNodesWithoutCollector', false);
});

it('BailiffInterfacesNotCovered - fires after a detach, whose operator the look names; attach ends it', {
  timeout: 4 * PATIENCE_MS,
}, async () => {
  const look = () => step('BailiffInterfacesNotCovered', 'Look', { '<node>': SECOND });
  await onNode(SECOND, 'detach', '--all');
  await untilFires('BailiffInterfacesNotCovered', true);
  await untilShown(look, /not-covered[^\n]*detached by an operator/);
  await onNode(SECOND, 'attach');
  await untilFires('BailiffInterfacesNotCovered', false);
  const sure = () => step('BailiffInterfacesNotCovered', 'Be sure', { '<node>': SECOND });
  await waitFor(async () => !(await sure()).stdout.includes('not-covered'), {
    what: 'no interface without a guard',
    timeoutMs: PATIENCE_MS,
    intervalMs: 1_000,
  });
});

it('BailiffRedisLost - fires while Redis hangs, and status names it', { timeout: 4 * PATIENCE_MS }, async () => {
  stop('redis');
  try {
    await untilFires('BailiffRedisLost', true);
    await untilShown(() => cli('status'), /responder: .*Redis/);
  } finally {
    go('redis');
  }
  await untilFires('BailiffRedisLost', false);
  expect(WELL).toContain((await step('BailiffRedisLost', 'Be sure')).exitCode);
});

it('BailiffCriticalVerdict - fires, the look names the pod, and its deletion ends the attack', {
  timeout: 4 * PATIENCE_MS,
}, async () => {
  const rule = 'correlation.cluster._.repeated-spoofing';
  expect(await cli('config', 'set', rule, 'level=critical', '--reason', 'test', '--yes')).toMatchObject({
    exitCode: 0,
  });
  // A rule applies to frames that the bus stores a second later.
  const storedMs = performance.now();
  await waitFor(() => performance.now() - storedMs > 2_000, { what: 'two seconds' });
  const pod = podsOf(SECOND)[0] as ReturnType<typeof podsOf>[number];
  await attack(pod.name);
  await untilFires('BailiffCriticalVerdict', true, ',rule="repeated-spoofing"');
  await untilShown(() => step('BailiffCriticalVerdict', 'Look'), new RegExp(`critical .*${pod.name}`));
  await kubectl(lab.kubeconfig('admin'), '-n', pod.namespace, 'delete', 'pod', pod.name, '--wait=false');
  await waitFor(() => lab.pods().every(({ uid }) => uid !== pod.uid), {
    what: 'the end of the pod',
    timeoutMs: PATIENCE_MS,
  });
  const names = { '<pod>': `${pod.namespace}/${pod.name}` };
  const events = async () => (await step('BailiffCriticalVerdict', 'Be sure', names)).stdout;
  // What its node counted last may be stored later than its end.
  let shown: string | null = null;
  await waitFor(
    async () => {
      const before = shown;
      shown = await events();
      return shown.split('\n').length === before?.split('\n').length;
    },
    { what: 'no further events', timeoutMs: PATIENCE_MS, intervalMs: 5_000 },
  );
});

it('BailiffNotProgressing - fires for a correlator that waits for a stream, and status names both', {
  timeout: 6 * PATIENCE_MS,
}, async () => {
  const bus = await lab.bus('admin');
  await apiRequest(bus, '$JS.API.STREAM.DELETE.CONFIG_LOG');
  await attack(podsOf(FIRST)[1]?.name ?? '');
  await untilFires('BailiffNotProgressing', true, ',app="correlator"');
  const look = () => step('BailiffNotProgressing', 'Look');
  await untilShown(look, /correlator: .*not progressing/);
  await untilShown(look, /has no CONFIG_LOG[\s\S]*bus setup/);
  // What the remedy of status does; the step of the page alone would not create the stream.
  await ensureTopology(bus);
  await bus.close();
  restart(CHILDREN.correlator);
  await untilFires('BailiffNotProgressing', false);
  expect(WELL).toContain((await step('BailiffNotProgressing', 'Be sure')).exitCode);
});

it('BailiffDiskNearlyFull - fires by the metrics of the kubelet, and ends after the volume has room', {
  timeout: 2 * PATIENCE_MS,
}, async () => {
  freeDisk = 0.05;
  await untilFires('BailiffDiskNearlyFull', true, ',persistentvolumeclaim="data-bailiff-nats-0"');
  freeDisk = 0.5;
  await untilFires('BailiffDiskNearlyFull', false);
});

it('the page - every alert fires here or has the file that has its cause', () => {
  const alerts = [...sections.keys()].filter((name) => name.startsWith('Bailiff'));
  expect([...tried].filter((name) => alerts.includes(name)).sort()).toEqual(alerts.sort());
});
