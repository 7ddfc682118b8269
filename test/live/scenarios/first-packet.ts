/**
 * Pods whose first act is an attack. Many of them also start while the collector is killed and
 * another pod attacks. With the CNI plugin, every first packet is judged under a confirmed identity.
 */
import { randomBytes } from 'node:crypto';
import { apiPath, deletePod, type Pod } from '@bailiff/kube';
import { waitFor } from '@bailiff/service/testing';
import { collectorOf } from '../cluster/guard.ts';
import { quantileOf } from '../report/histogram.ts';
import { type Counts, judged } from '../report/result.ts';
import { attackDuring, killCollector } from './chaos.ts';
import { type Sent, unguardedAttack } from './load.ts';
import type { Live, Outcome, Scenario } from './scenario.ts';
import { remember, settled } from './scenario.ts';
import { castOf, uidsOf } from './spoof.ts';

const VECTOR = 'ipv4-source';
const PACKETS = 50;
const CONTROL_PODS = 3;
const AT_ONCE = 20;
/** From this number on, the collector is killed halfway, during an attack by another pod. */
const DISTURBED_FROM = 100;
const POD_TIMEOUT_MS = 240_000;
const COUNT_TIMEOUT_MS = 120_000;

interface First {
  uid: string;
  sent: number;
}

type PodWithReport = Pod & {
  status?: { containerStatuses?: { state?: { terminated?: { message?: string; reason?: string } } }[] };
};

/** Starts one pod and waits for the report of its first packets. */
async function firstAct(live: Live, namespace: string, name: string, marker: Buffer): Promise<First> {
  const { scene } = await castOf(live);
  const act = { to: scene.victim4, from: scene.claimed4, marker: marker.toString('hex'), count: PACKETS };
  await live.stage.startPod(namespace, name, { isOnce: true, env: { LIVE_FIRST_ACT: JSON.stringify(act) } });
  const read = () => live.kube.request<PodWithReport>({ path: apiPath`/api/v1/namespaces/${namespace}/pods/${name}` });
  const pod = await waitFor(read, {
    what: `the first packets of ${namespace}/${name}`,
    timeoutMs: POD_TIMEOUT_MS,
    intervalMs: 1_000,
    until: ({ status }) => status?.phase === 'Succeeded' || status?.phase === 'Failed',
  });
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  if (pod.status?.phase !== 'Succeeded')
    throw new Error(`${name}: ${ended?.reason ?? 'failed'} ${ended?.message ?? ''}`);
  const { sent } = JSON.parse(ended?.message ?? '') as { sent: number };
  return { uid: pod.metadata.uid, sent };
}

/**
 * Starts `count` pods, some at a time. Each is deleted after its packets were counted. `onEnded`
 * gets the number of ended pods.
 */
async function firstActs(live: Live, namespace: string, count: number, marker: Buffer, onEnded: (n: number) => void) {
  const ended: First[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) {
      const name = `first-${index}`;
      const first = await firstAct(live, namespace, name, marker);
      remember(live, first.uid, VECTOR, first.sent);
      await settled(() => live.watch.packets(first.uid, VECTOR), first.sent, COUNT_TIMEOUT_MS);
      await deletePod(live.kube, { namespace, name, uid: first.uid, gracePeriodSeconds: 1 });
      onEnded(ended.push(first));
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
  return ended;
}

const landedAt = async (live: Live, marker: Buffer): Promise<number> => {
  const { counts, missed } = await (await castOf(live)).victim.counts();
  if (missed > 0) throw new Error(`the receiver missed ${missed} packets`);
  return counts[marker.toString('hex')] ?? 0;
};

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Requests of the CNI plugin that the node's collector served since it started, in milliseconds. */
async function cniLatency(live: Live): Promise<Record<string, number>> {
  // The address has brackets, which an IPv4 address in a URL must not have.
  const script = `fetch('http://'+process.env.BAILIFF_COLLECTOR_METRICS_ADDRESS.replace(/^\\[([\\d.]+)\\]/,'$1')+'/metrics').then(r=>r.text()).then(console.log)`;
  const pod = await collectorOf(live, live.node);
  const text = await live.kubectl.run(['-n', live.options.namespace, 'exec', pod, '--', 'node', '-e', script]);
  const of = (quantile: number) => (quantileOf(text, 'bailiff_collector_cni_request_seconds', quantile) ?? 0) * 1_000;
  return { 'CNI request p50 at most, ms': of(0.5), 'CNI request p99 at most, ms': of(0.99) };
}

function firstPacket(): Scenario {
  const controls = { first: null as Sent | null, other: null as Sent | null };
  return {
    name: 'first-packet',
    about: `pods (--first-pods) whose first act is ${PACKETS} forged packets each`,
    prepare: async (live) => uidsOf(await castOf(live)),
    control: async (live) => {
      const { victim, scene } = await castOf(live);
      if (!scene.victim4) return;
      const marker = randomBytes(16);
      await victim.watch([marker]);
      const namespace = await live.stage.namespace('first-control');
      const names = Array.from({ length: CONTROL_PODS }, (_, index) => `control-${index}`);
      const pods = await Promise.all(names.map((name) => firstAct(live, namespace, name, marker)));
      controls.first = { sent: sum(pods.map(({ sent }) => sent)), landed: await landedAt(live, marker) };
      if (isDisturbed(live)) controls.other = await unguardedAttack(live, PACKETS);
    },
    run: async (live) => {
      const { victim, scene } = await castOf(live);
      if (!scene.victim4) return { status: 'skipped', detail: 'the cluster has no IPv4' };
      const marker = randomBytes(16);
      await victim.watch([marker]);
      const passedBefore = (await live.watch.node(live.node))?.status.cni?.passed ?? 0;
      const { ended, other, seconds } = await startAll(live, marker);
      const counted = sum(ended.map(({ uid }) => live.watch.packets(uid, VECTOR)));
      const sent = sum(ended.map((one) => one.sent));
      const guarded = { sent, counted, landed: await landedAt(live, marker) };
      const rows: Counts[] = [{ vector: VECTOR, control: controls.first, guarded }];
      if (other) rows.push({ vector: `${VECTOR}, other pod`, control: controls.other, guarded: other });
      return withIdentity(live, { ended, sent, seconds, passedBefore }, judged(rows));
    },
  };
}

const isDisturbed = ({ options }: Live) => options.firstPods >= DISTURBED_FROM;

async function startAll(live: Live, marker: Buffer) {
  const namespace = await live.stage.namespace('first');
  const { firstPods } = live.options;
  const half = Math.ceil(firstPods / 2);
  let ended: First[] = [];
  let killed: Promise<void> | undefined;
  const begin = performance.now();
  const start = async () => {
    ended = await firstActs(live, namespace, firstPods, marker, (count) => {
      if (count % 100 === 0) live.log(`first-packet: ${count} of ${firstPods} pods ended`);
      if (count !== half || !isDisturbed(live)) return;
      killed = killCollector(live);
      // Awaited below; until then a rejection has no handler.
      killed.catch(() => undefined);
    });
    await killed;
  };
  const other = isDisturbed(live) ? (await attackDuring(live, start)).guarded : await start().then(() => null);
  return { ended, other, seconds: (performance.now() - begin) / 1_000 };
}

interface Starts {
  ended: readonly First[];
  sent: number;
  seconds: number;
  /** Pods that the CNI plugin let start without a guard before these. */
  passedBefore: number;
}

/** The identity under which the packets were judged. Only the CNI plugin guarantees it. */
async function withIdentity(
  live: Live,
  { ended, sent, seconds, passedBefore }: Starts,
  outcome: Outcome,
): Promise<Outcome> {
  const cni = (await live.watch.node(live.node))?.status.cni;
  const programmed = sum(ended.map(({ uid }) => live.watch.of(uid).programmedPackets));
  const isInstalled = cni?.state === 'installed';
  const measured = {
    pods: ended.length,
    'pods per second': Math.round((ended.length / seconds) * 100) / 100,
    'judged as programmed': programmed,
    ...(isInstalled ? { 'started without a guard': cni.passed - passedBefore, ...(await cniLatency(live)) } : {}),
  };
  const seen = `${outcome.detail}; ${ended.length} pods; ${programmed} of ${sent} judged as programmed`;
  const isGood = !isInstalled || programmed === sent;
  return { ...outcome, status: isGood ? outcome.status : 'failed', detail: seen, measured };
}

export const FIRST_PACKET: Scenario = firstPacket();
