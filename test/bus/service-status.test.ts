// The status of correlator and responder that the command can report from the streams with its
// rights.

import {
  type Bus,
  consumeOrdered,
  FramePublisher,
  InstanceReporter,
  openBucket,
  publishOnce,
  responseSubject,
  SERVICES_MAX_KEYS,
  verdictSubject,
  violationSubject,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { readInstances } from '@bailiff/insight';
import { POLICY_SETTLE_MICROS, readServiceStatus, responseIdOf } from '@bailiff/response';
import {
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  type InstanceStatus,
  type Response,
  type Verdict,
} from '@bailiff/schemas';
import { sampleFrame, sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { startBus, underWay } from '../support/bus.ts';
import { logged } from '../support/config-log.ts';
import { RawNats } from '../support/raw-nats.ts';

const verdictId = (n: number) => n.toString(16).padStart(32, '0');

async function frame(nats: TestNats, msgId: string): Promise<number> {
  const publisher = new FramePublisher(await nats.connect('collector-node-a'));
  const subject = violationSubject('node-a', 'spoof');
  const acked = await publisher.publish(subject, encodeViolationFrame(sampleFrame({ nodeName: 'node-a' })), {
    msgId,
  });
  publisher.close();
  return acked.sequence;
}

async function publishVerdict(bus: Bus, part: Partial<Verdict>): Promise<Verdict> {
  const verdict = sampleVerdict({ level: 'high', evidence: [], ...part });
  await publishOnce(bus, verdictSubject(verdict), encodeVerdict(verdict));
  return verdict;
}

async function respond(bus: Bus, verdict: Verdict, part: Partial<Response> = {}): Promise<void> {
  const { policy = 'answer-high', action = 'label', phase = 'dryrun' } = part;
  const key = { verdictId: verdict.verdictId, policy, action };
  const response = sampleResponse({ ...part, ...key, phase, responseId: responseIdOf(key, 'terminal') });
  await publishOnce(bus, responseSubject(response), encodeResponse(response));
}

const NOTHING = {
  running: 0,
  ready: 0,
  notReady: '',
  notReadyForMs: 0,
  silent: 0,
  silentForMs: 0,
  crashed: 0,
  leading: 0,
  leadingNow: 0,
  ledAgoMs: null,
  runningForMs: 0,
  waiting: { count: 0, oldestAtMs: 0, atLeast: false },
  behindMs: 0,
  newer: 0,
  heardMs: 0,
  stalledMs: 0,
};

test('service status - on an empty bus no service runs and nothing is pending', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const askedAtMs = Date.now();
  const status = await readServiceStatus(cli, []);
  expect(status.correlator).toEqual({
    ...NOTHING,
    newestFrameAtMs: null,
    newestVerdictAtMs: null,
    newestVerdictDelayMs: null,
    skipped: [],
    missingVerdicts: null,
  });
  expect(status.responder).toMatchObject({ ...NOTHING, due: 0, unanswered: 0, newestResponseAtMs: null });
  expect(status.ipamSync).toEqual({ ...NOTHING, waiting: null });
  expect([status.siemRelay, status.evidenceLog]).toEqual([null, null]);
  expect(status.atMs).toBeGreaterThan(askedAtMs - 1_000);
  expect(status.atMs).toBeLessThan(Date.now() + 1_000);
});

test('service status - a verdict with a matching policy is pending until each of its steps has ended', async () => {
  await using nats = await startBus();
  const beganAtMs = Date.now();
  const correlator = await nats.connect('correlator');
  const asleep = await publishVerdict(correlator, { verdictId: verdictId(1) });
  const answered = await publishVerdict(correlator, { verdictId: verdictId(2) });
  await publishVerdict(correlator, { verdictId: verdictId(3), level: 'low' });
  const steps = async (verdict: Verdict, phase?: Response['phase']) => {
    const bus = await nats.connect('responder');
    for (const action of ['observe', 'label', 'delete'] as const)
      await respond(bus, verdict, { action, ...(phase && action === 'delete' ? { phase } : {}) });
  };
  await steps(answered);
  const cli = await nats.connect('cli');
  const status = await readServiceStatus(cli, [], { graceMs: 0 });
  expect(status.responder).toMatchObject({ due: 2, unanswered: 1, unansweredIds: [asleep.verdictId], dryRuns: 1 });
  expect(status.responder.oldestUnansweredAtMs).toBeGreaterThan(beganAtMs - 1_000);
  expect(status.responder.newestResponseAtMs).not.toBeNull();
  expect(status.cut).toBe(false);
  expect((await readServiceStatus(cli, [])).responder).toMatchObject({ due: 0, unanswered: 0 });
  // Something was done about it.
  await steps(asleep, 'succeeded');
  const ended = (await readServiceStatus(cli, [], { graceMs: 0 })).responder;
  expect(ended).toMatchObject({ due: 2, unanswered: 0, dryRuns: 1 });
});

test('service status - a clock that is set back by an hour: the instance runs, and is unready for as long as before', async () => {
  await using nats = await startBus();
  let stepMs = 0;
  const reporter = new InstanceReporter({
    bus: await nats.connect('correlator'),
    service: 'correlator',
    ctx: {
      version: '0',
      clock: { nowMs: () => Date.now() + stepMs },
      health: { checkReady: async () => ({ ok: false, checks: { streams: 'not read yet' } }) },
    },
    onError: (error) => expect.unreachable(error.message),
  });
  const cli = await nats.connect('cli');
  const stored = async () => (await readInstances(cli))[0];
  const lags = (one: InstanceStatus | undefined) =>
    Date.parse(one?.updatedAt ?? '') - Date.parse(one?.ready?.since ?? '');
  const running = async () => (await readServiceStatus(cli, await readInstances(cli))).correlator.running;
  await waitFor(stored, { what: 'the first status' });
  expect(await running()).toBe(1);
  stepMs = -3_600_000;
  const before = await stored();
  reporter.report();
  const after = await waitFor(async () => {
    const one = await stored();
    return one && one.updatedAt !== before?.updatedAt && one;
  });
  expect(await running()).toBe(1);
  // All times of a status are by one clock.
  expect(Math.abs(Date.parse(after.startedAt) - Date.parse(before?.startedAt ?? ''))).toBeLessThan(10_000);
  expect(lags(after)).toBeGreaterThanOrEqual(0);
  expect(lags(after)).toBeLessThan(60_000);
  await reporter.close();
});

test('service status - steps that the responder gave up are answered, and named as failed until one succeeds', async () => {
  await using nats = await startBus();
  const correlator = await nats.connect('correlator');
  const verdicts = await Promise.all([1, 2].map((n) => publishVerdict(correlator, { verdictId: verdictId(n) })));
  const responder = await nats.connect('responder');
  const [first, second] = verdicts as [Verdict, Verdict];
  const reasonCode = 'kube-forbidden';
  for (const action of ['observe', 'label', 'delete'] as const)
    await respond(responder, first, { action, phase: 'failed', reasonCode });
  const cli = await nats.connect('cli');
  const answers = async () => (await readServiceStatus(cli, [], { graceMs: 0 })).responder;
  const failed = (await answers()).failed.find(({ action }) => action === 'label');
  expect(failed).toMatchObject({ count: 1, reasonCode, persists: true });
  await respond(responder, second, { action: 'label', phase: 'succeeded' });
  expect((await answers()).failed.map(({ action, persists }) => [action, persists])).toEqual([
    ['observe', true],
    ['label', false],
    ['delete', true],
  ]);
});

test('service status - the delay of the newest verdict, and the frames after the position of the last instance', async () => {
  await using nats = await startBus();
  const beganAtMs = performance.now();
  const streamSequence = await frame(nats, 'first');
  const storedAtMs = performance.now();
  await waitFor(() => performance.now() > storedAtMs + 300);
  await publishVerdict(await nats.connect('correlator'), {
    verdictId: verdictId(1),
    evidence: [{ streamSequence, index: 0, vector: 'ipv4-source', packets: 1, process: null }],
  });
  const cli = await nats.connect('cli');
  const { correlator } = await readServiceStatus(cli, []);
  expect(correlator).toMatchObject({ running: 0, waiting: { count: 1 } });
  expect(correlator.newestVerdictDelayMs).toBeGreaterThanOrEqual(300);
  expect(correlator.newestVerdictDelayMs).toBeLessThan(performance.now() - beganAtMs + 1_000);

  await frame(nats, 'second');
  // A consumer of the stream is not an instance: it belongs to a follower, or to a process that
  // died.
  const end = new AbortController();
  let idle = false;
  const reading = underWay(
    consumeOrdered(await nats.connect('correlator'), 'VIOLATIONS', {
      start: 'all',
      onMessage: () => undefined,
      onIdle: () => {
        idle = true;
      },
      signal: end.signal,
    }),
  );
  await waitFor(() => idle);
  expect((await readServiceStatus(cli, [])).correlator).toMatchObject({ running: 0, waiting: { count: 2 } });
  const at = (ageMs: number) => new Date(Date.now() - ageMs).toISOString();
  const instance = (part: Partial<InstanceStatus>): InstanceStatus => ({
    service: 'correlator',
    instance: 'pod-a-00000001',
    version: '0',
    configRevision: 0,
    configRefused: [],
    startedAt: at(7_200_000),
    updatedAt: at(0),
    ready: { ok: true, since: at(7_200_000), reason: '' },
    progress: [{ stream: 'VIOLATIONS', sequence: streamSequence, storedAt: '', behind: 1, stalledMs: 0 }],
    ...part,
  });
  const of = async (...instances: InstanceStatus[]) => (await readServiceStatus(cli, instances)).correlator;
  expect(await of(instance({ stoppedAt: at(0) }))).toMatchObject({ running: 0, silent: 0, waiting: { count: 1 } });
  expect(await of(instance({ updatedAt: at(40_000) }))).toMatchObject({ running: 0, silent: 1, waiting: { count: 1 } });
  expect(await of(instance({ updatedAt: at(-5_000) }))).toMatchObject({ running: 1, silent: 0, waiting: { count: 1 } });
  end.abort();
  await reading;
});

test('service status - a verdict with one ended and one running step is pending, as in the responder', async () => {
  await using nats = await startBus();
  const [first, second] = [
    { policy: 'two-steps', action: 'observe' as const },
    { policy: 'two-steps', action: 'label' as const },
  ];
  const admin = await nats.connect('admin');
  const json = JSON.stringify({ match: { levels: ['medium'] }, steps: [{ action: 'observe' }, { action: 'label' }] });
  await openBucket(admin, 'bailiff_config').put('response.cluster._.two-steps', json);
  const loggedMicros = await logged(admin, { key: 'response.cluster._.two-steps', json });
  await waitFor(() => Date.now() * 1000 > loggedMicros + POLICY_SETTLE_MICROS + 10_000);
  const correlator = await nats.connect('correlator');
  const verdict = await publishVerdict(correlator, { verdictId: verdictId(1), level: 'medium' });
  const cli = await nats.connect('cli');
  const responder = await nats.connect('responder');
  const answers = async () => (await readServiceStatus(cli, [], { graceMs: 0 })).responder;
  expect(await answers()).toMatchObject({ due: 1, unanswered: 1, unansweredIds: [verdict.verdictId] });
  await respond(responder, verdict, first);
  expect(await answers()).toMatchObject({ due: 1, unanswered: 1 });
  await respond(responder, verdict, second);
  expect(await answers()).toMatchObject({ due: 1, unanswered: 0 });
});

test('service statuses - one credential cannot store more keys than readers can read; the known instances go on', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const { jsm } = admin;
  const own = openBucket(await nats.connect('correlator'), 'bailiff_services');
  await own.put('correlator.honest', '{}');
  await using stolen = await RawNats.connect({
    port: nats.port,
    user: 'evidence-log',
    password: 'password-of-evidence-log',
  });
  const stored = async () => (await jsm.streams.info('KV_bailiff_services')).state.messages;
  const fill = async (from: number) => {
    for (let key = from; key < from + SERVICES_MAX_KEYS; key += 1)
      stolen.publish({ subject: `$KV.bailiff_services.evidence-log.${key}`, body: '{' });
    // The server stores in order: the response to the last one follows all others.
    await stolen.store({ subject: '$KV.bailiff_services.evidence-log.0', body: '{' });
  };
  await fill(0);
  expect(await stored()).toBe(SERVICES_MAX_KEYS);
  await own.put('correlator.honest', '{"n":2}');
  expect((await openBucket(admin, 'bailiff_services').get('correlator.honest'))?.value.toString()).toBe('{"n":2}');
  // The control: without the limit.
  await jsm.streams.update('KV_bailiff_services', { max_msgs: -1 });
  await fill(SERVICES_MAX_KEYS);
  expect(await stored()).toBeGreaterThan(2 * SERVICES_MAX_KEYS - 2);
});
