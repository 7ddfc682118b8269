// Reports of OpenReports in the API server: written with the rights of the chart's role, kept current
// while server and relay are killed, and independent of a namespace that refuses them.
import path from 'node:path';
import { consumeOrdered } from '@bailiff/bus';
import { type ApiServer, type KubeObject, startApiServer } from '@bailiff/lab/apiserver';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { OpenReportsOutput } from '../../apps/siem-relay/src/openreports/output.ts';
import type { OutputEvent } from '../../apps/siem-relay/src/outputs/output.ts';
import { startKube } from '../support/kube.ts';
import { serveReports, TOKENS } from '../support/openreports.ts';
import { launchRelay, NODE, RelayRig } from './siem-relay-rig.ts';

interface Report extends KubeObject {
  summary: { fail: number };
  results: { policy: string; message: string; resources: { name: string }[]; properties: Record<string, string> }[];
}

const reportOf = ({ store }: ApiServer, namespace: string) =>
  store.get('reports.openreports.io', `${namespace}/bailiff`) as Report | undefined;
const failsOf = (api: ApiServer, ...namespaces: string[]) =>
  namespaces.map((namespace) => reportOf(api, namespace)?.summary.fail ?? 0);

const prepare = (server: ApiServer) => serveReports(server, ['shop', 'bank', 'closed']);

const podOf = (namespace: string, name: string) => ({
  ...{ uid: `uid-${namespace}-${name}`, namespace, name },
  ...{ ownerKind: '', ownerName: '', ownerUid: '' },
});
let made = 0;
const verdictOf = (namespace: string, name: string) => {
  made += 1;
  return { verdictId: made.toString(16).padStart(32, '0'), pod: podOf(namespace, name) };
};

it('openreports - a verdict and its response are in the report; killed servers and relays lose none', async () => {
  await using rig = await RelayRig.start();
  const certDir = path.join(rig.directory, 'api');
  let api = await startApiServer({ certDir, tokens: TOKENS });
  prepare(api);
  const { port } = api;
  const flags = [
    ...rig.flags(),
    ...['--openreports.enabled', '--openreports.kubeconfig', api.kubeconfigPath('relay')],
    ...['--openreports.timeout-ms', '2000'],
  ];
  const left = { apiVersion: 'openreports.io/v1alpha1', kind: 'Report', metadata: { name: 'bailiff' } };
  api.api.create('reports', { ...left, metadata: { name: 'bailiff', namespace: 'bank' } });
  api.api.create('reports', { ...left, metadata: { name: 'scanner', namespace: 'bank' } });
  let relay = await launchRelay(flags);
  const until = (isReached: () => boolean, what: string) =>
    waitFor(isReached, { what, timeoutMs: 60_000, state: () => [reportOf(api, 'shop'), relay.out().slice(-900)] });

  const first = verdictOf('shop', 'web-0');
  await rig.verdict({ ...first, rule: 'spoof-flood', level: 'high', reason: 'spoofed 12 packets' });
  await until(() => failsOf(api, 'shop')[0] === 1, 'the report');
  const target = { podUid: first.pod.uid, podNamespace: 'shop', podName: 'web-0' };
  await rig.response({ verdictId: first.verdictId, ...target, action: 'delete', phase: 'succeeded', reason: '' });
  const done = () => reportOf(api, 'shop')?.results[0]?.properties['response'];
  await until(() => done() === 'delete of shop/web-0 succeeded', 'the response');
  expect(reportOf(api, 'shop')).toMatchObject({
    source: 'bailiff',
    results: [
      {
        policy: 'spoof-flood',
        result: 'fail',
        severity: 'high',
        message: 'spoofed 12 packets',
        resources: [{ kind: 'Pod', namespace: 'shop', name: 'web-0', uid: first.pod.uid }],
        properties: { verdictId: first.verdictId, node: NODE },
      },
    ],
  });
  // A report of an earlier run whose results have ended; one of another program stays.
  await until(() => reportOf(api, 'bank') === undefined, 'the end of the report that was left');
  expect(api.store.get('reports.openreports.io', 'bank/scanner')).toBeDefined();

  await api.close();
  await rig.verdict(verdictOf('shop', 'web-1'));
  await rig.verdict(verdictOf('bank', 'db-0'));
  await waitFor(() => relay.out().includes('events for openreports wait'), { what: 'a failure', timeoutMs: 30_000 });
  // A server that has lost everything: the relay does not rely on what it wrote.
  api = await startApiServer({ certDir, port, tokens: TOKENS });
  try {
    prepare(api);
    await until(() => failsOf(api, 'shop', 'bank').join() === '2,1', 'what happened meanwhile');

    await relay.kill();
    api.api.patch(
      'reports',
      { namespace: 'shop', name: 'bailiff' },
      'application/merge-patch+json',
      { results: [], summary: { fail: 0 } },
      {},
    );
    relay = await launchRelay(flags);
    await until(() => failsOf(api, 'shop', 'bank').join() === '2,1', 'the repaired report');
    expect(done()).toBe('delete of shop/web-0 succeeded');
  } finally {
    await relay.kill();
    await api.close();
  }
}, 180_000);

const CALL =
  'failed to call webhook: Post "https://checks.closed.svc:443/": dial tcp 10.0.0.9:443: connect: connection refused';
it.each([
  ['refuses reports', 403, 'reports.openreports.io "bailiff" is forbidden: exceeded quota: none'],
  [
    'has a webhook that does not respond',
    500,
    `Internal error occurred: failed calling webhook "checks.closed": ${CALL}`,
  ],
])(
  'openreports - a namespace that %s delays no other, and a deleted one is no failure',
  async (_, status, message) => {
    await using rig = await RelayRig.start();
    await using kube = await startKube({ tokens: TOKENS });
    const { server: api } = kube;
    prepare(api);
    api.faults.inject({ resource: 'reports', namespace: 'closed', status, message, times: Infinity });
    await using relay = await launchRelay([
      ...rig.flags(),
      ...['--openreports.enabled', '--openreports.kubeconfig', api.kubeconfigPath('relay')],
    ]);
    for (let n = 0; n < 30; n += 1) {
      await rig.verdict(verdictOf('closed', `a-${n}`));
      await rig.verdict(verdictOf('gone', `b-${n}`));
    }
    await rig.verdict(verdictOf('shop', 'web-0'));
    await waitFor(() => failsOf(api, 'shop')[0] === 1, { what: 'the report', timeoutMs: 30_000, state: relay.out });
    await rig.verdict(verdictOf('closed', 'a-30'));
    await rig.verdict(verdictOf('shop', 'web-1'));
    await waitFor(() => failsOf(api, 'shop')[0] === 2, { what: 'the report', timeoutMs: 30_000, state: relay.out });
    const letters: string[] = [];
    const end = new AbortController();
    await consumeOrdered(rig.admin, 'DEAD_LETTERS', {
      start: 'all',
      onMessage: ({ subject, headers }) => void letters.push(`${subject} ${headers?.get('Bailiff-Detail')}`),
      onIdle: () => end.abort(),
      signal: end.signal,
    });
    // One for the refusal, not one for each verdict.
    expect(letters).toEqual([expect.stringMatching(/openreports-refused.*written again later/)]);
    expect(letters[0]).toContain(message);
    expect(relay.out()).not.toContain('events for openreports wait');
  },
  120_000,
);

it('openreports - large reports of others are listed by small pages; one that cannot be written or deleted delays no other', async () => {
  await using rig = await RelayRig.start();
  await using kube = await startKube({ tokens: TOKENS });
  const { server: api } = kube;
  prepare(api);
  const annotations = { large: 'x'.repeat(250_000) };
  const foreign = (namespace: string) => {
    const metadata = { name: 'bailiff', namespace, annotations };
    api.api.create('reports', { apiVersion: 'openreports.io/v1alpha1', kind: 'Report', metadata });
  };
  const large = Array.from({ length: 80 }, (_, n) => `large-${n}`);
  for (const name of large) api.api.create('namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  for (const name of ['closed', 'bank', ...large]) foreign(name);
  const message = 'etcdserver: request is too large';
  api.faults.inject({ verb: 'patch', resource: 'reports', namespace: 'closed', status: 500, message, times: Infinity });
  const kept = 'admission webhook "w" denied the request: no';
  api.faults.inject({
    verb: 'delete',
    resource: 'reports',
    namespace: 'bank',
    status: 403,
    message: kept,
    times: Infinity,
  });
  await using relay = await launchRelay([
    ...rig.flags(),
    ...['--openreports.enabled', '--openreports.kubeconfig', api.kubeconfigPath('relay')],
  ]);
  const until = (isReached: () => boolean, what: string) =>
    waitFor(isReached, { what, timeoutMs: 60_000, state: () => relay.out().slice(-900) });
  await rig.verdict(verdictOf('closed', 'a'));
  await until(() => large.every((name) => reportOf(api, name) === undefined), 'the end of large reports');
  expect(reportOf(api, 'bank')).toBeDefined();
  await rig.verdict(verdictOf('shop', 'web-0'));
  await until(() => failsOf(api, 'shop')[0] === 1, 'the report');
  expect(relay.out()).not.toContain('events for openreports wait');
}, 120_000);

it('openreports - without its rights, or without the definition, events wait and the reason is named', async () => {
  await using rig = await RelayRig.start();
  await using kube = await startKube({ tokens: TOKENS });
  const run = async (user: string) => {
    const kubeconfig = kube.server.kubeconfigPath(user);
    const relay = await launchRelay([...rig.flags(), '--openreports.enabled', '--openreports.kubeconfig', kubeconfig]);
    return relay;
  };
  for (const [user, reason] of [
    ['relay', /install its definition/],
    // Whichever comes first: the list of older reports, or an event.
    ['without-rights', /cannot (list|patch) resource/],
  ] as const) {
    await using relay = await run(user);
    await rig.verdict(verdictOf('shop', 'web-0'));
    const isNamed = () => reason.test(relay.out()) && relay.out().includes('OUTPUT_MISCONFIGURED');
    await waitFor(isNamed, { what: reason.source, timeoutMs: 30_000, state: relay.out });
    if (user === 'relay') prepare(kube.server);
  }
  // The control: with both, the events that waited arrive.
  await using relay = await run('relay');
  await waitFor(() => failsOf(kube.server, 'shop')[0] === 1, {
    what: 'the report',
    timeoutMs: 30_000,
    state: relay.out,
  });
}, 120_000);

it('openreports - a refused report is written later with all of its results, and old results end', async () => {
  await using kube = await startKube({ tokens: TOKENS });
  prepare(kube.server);
  let nowMs = 1_790_000_000_000;
  const client = kube.client({ user: 'relay' });
  const output = new OpenReportsOutput({ kube: client, keepMs: 86_400_000, timeoutMs: 5_000, nowMs: () => nowMs });
  const { signal } = new AbortController();
  const eventOf = (name: string): OutputEvent => ({
    ...{ sequence: 1, subject: '', uid: name, className: 'detection-finding', node: NODE, severity: 4 },
    ...{ timeMicros: nowMs * 1_000, storedMicros: nowMs * 1_000 },
    data: Buffer.from(
      JSON.stringify({
        message: 'why',
        severity: 'High',
        finding_info: { uid: name },
        unmapped: {
          k8s: { namespace: 'shop', pod_name: name, pod_uid: name },
          bailiff: { rule: 'spoof-flood' },
        },
      }),
    ),
  });
  const fault = kube.server.faults.inject({ resource: 'reports', namespace: 'shop', status: 422, times: Infinity });
  expect(await output.deliver([eventOf('a')], signal)).toMatchObject({ rejected: 1 });
  const { hits } = fault;
  // Until its time, the report is not tried again, and later verdicts are kept.
  expect(await output.deliver([eventOf('b')], signal)).toBeNull();
  expect(await output.tick(signal)).toBe(false);
  expect(fault.hits).toBe(hits);
  // Also after a clock of the bus that was ahead is set back.
  nowMs -= 3_600_000;
  await expect(output.tick(signal)).rejects.toMatchObject({ code: 'OUTPUT_REFUSED' });
  nowMs += 300_000;
  await expect(output.tick(signal)).rejects.toMatchObject({ code: 'OUTPUT_REFUSED' });
  fault.remove();
  nowMs += 300_000;
  expect(await output.tick(signal)).toBe(true);
  expect(failsOf(kube.server, 'shop')).toEqual([2]);
  nowMs += 86_400_000 + 3_600_000;
  expect(await output.tick(signal)).toBe(true);
  expect(reportOf(kube.server, 'shop')).toBeUndefined();
});
