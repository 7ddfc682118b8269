/** Latency of a response: from a frame that crosses a threshold to its verdict and its delete call. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, consumeOrdered, encodeToken, FramePublisher, openBucket, violationSubject } from '@bailiff/bus';
import { SETTLE_MICROS } from '@bailiff/correlation';
import { podRef, SimCollector, snapshotJson } from '@bailiff/correlation/testing';
import { decodeVerdict, encodeViolationFrame, type PodRef, type ViolationFrame } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { Rig } from '../cluster/responder/rig.ts';
import { startApp } from './app-process.ts';

const TRIALS = 200;
const NODE = 'node-b';
/** A responder starts at most 50 tasks of an action per second; faster trials would measure that limit. */
const TRIAL_EVERY_MS = 50;
/** Above the threshold (10) of the built-in rule `repeated-spoofing`. */
const PACKETS = 12;
/** The built-in steps without dry-run, with guards that do not stop the bench. */
const POLICY = {
  dryRun: false,
  match: { levels: ['high', 'critical'] },
  steps: [{ action: 'observe' }, { action: 'label', expires: '24h' }, { action: 'delete' }],
  guards: {
    budget: { window: '10m', maxPods: 100_000, maxPercent: 100, maxNodes: 100 },
    deleteStorm: { deletes: 1_000, window: '10m' },
  },
};

async function listPods(bus: Bus, pods: readonly PodRef[]): Promise<void> {
  await openBucket(bus, 'bailiff_pods').put(encodeToken(NODE), snapshotJson(NODE, pods));
  const settled = performance.now() + SETTLE_MICROS / 1000 + 100;
  await waitFor(() => performance.now() > settled, { what: 'the list of pods to be in force' });
}

/** Arrival of each verdict (by pod UID) and of each delete request at the API server (by pod name). */
function watchAnswers(rig: Rig) {
  const verdictAtMs = new Map<string, number>();
  const deletedAtMs = new Map<string, number>();
  const end = new AbortController();
  const reading = consumeOrdered(rig.bus, 'VERDICTS', {
    start: 'new',
    onMessage: (message) => void verdictAtMs.set(decodeVerdict(message.data).pod?.uid ?? '', performance.now()),
    signal: end.signal,
  });
  const stopListening = rig.api.requests.listen(({ verb, resource, name, timeMs }) => {
    const first = verb === 'delete' && resource === 'pods' && !deletedAtMs.has(name);
    if (first) deletedAtMs.set(name, timeMs - performance.timeOrigin);
  });
  return {
    verdictAtMs,
    deletedAtMs,
    async [Symbol.asyncDispose]() {
      stopListening();
      end.abort();
      await reading;
    },
  };
}

export async function answerLatencies(): Promise<Record<string, number[]>> {
  await using rig = await Rig.start();
  const passwords = path.join(rig.directory, 'password-of-correlator');
  writeFileSync(passwords, 'password-of-correlator', { mode: 0o600 });
  const busFlags = ['--nats-url', rig.nats.url, '--nats-user', 'correlator', '--nats-password-file', passwords];
  // All trials are on one node, which has a quarter of the limit.
  await using correlator = startApp('correlator', [...busFlags, '--verdicts-per-minute', `${10 * TRIALS}`]);
  await using responder = startApp('responder', [
    ...['--nats-url', rig.nats.url, '--nats-user', 'responder'],
    ...['--nats-password-file', path.join(rig.directory, 'password')],
    ...['--kubeconfig', rig.api.kubeconfigPath(), '--redis-url', rig.redis.url],
  ]);
  await Promise.all([correlator.until('ready'), responder.until('ready')]);
  const pods = Array.from({ length: TRIALS }, () => {
    const { uid, namespace, name } = rig.pod({ node: NODE });
    return podRef(name, { uid, namespace });
  });
  await rig.policies({ 'answer-high': POLICY });
  await listPods(rig.bus, pods);
  await using watch = watchAnswers(rig);
  const { verdictAtMs, deletedAtMs } = watch;
  const collector = new SimCollector(NODE);
  const publisher = new FramePublisher(rig.bus);
  const toVerdict: number[] = [];
  const toDelete: number[] = [];
  for (const [trial, { uid, ...pod }] of pods.entries()) {
    collector.spoof({ uid, ...pod }, PACKETS);
    const frame = encodeViolationFrame(collector.flush(Date.now() * 1000) as ViolationFrame);
    const begun = performance.now();
    await publisher.publish(violationSubject(NODE, 'spoof'), frame, { msgId: `bench-${trial}` });
    await waitFor(() => verdictAtMs.has(uid) && deletedAtMs.has(pod.name), {
      what: `verdict and delete of ${pod.name}`,
      intervalMs: 5,
      state: () => [correlator.log().slice(-1500), responder.log().slice(-1500)],
    });
    toVerdict.push((verdictAtMs.get(uid) as number) - begun);
    toDelete.push((deletedAtMs.get(pod.name) as number) - begun);
    await new Promise((resolve) => setTimeout(resolve, begun + TRIAL_EVERY_MS - performance.now()));
  }
  publisher.close();
  return {
    'threshold crossed → verdict on the bus': toVerdict,
    'threshold crossed → delete call at the API server': toDelete,
  };
}
