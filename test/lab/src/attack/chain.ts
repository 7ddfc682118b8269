/**
 * One complete run: a pod sends forged packets until it is deleted, while all pods exchange
 * ordinary traffic. Collects the counts of sender, kernel, witnesses, bus and API server for
 * comparison.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Reflector } from '@bailiff/kube';
import { LabError } from '../errors.ts';
import { type LabPod, readPod } from '../kubelet/pod.ts';
import { exec } from '../process/exec.ts';
import type { LabPodInfo } from '../state/state.ts';
import type { Lab } from '../supervisor/lab.ts';
import { ENFORCED_ACTIONS } from '../supervisor/provision.ts';
import { until } from '../until.ts';
import { type BusTally, watchBus } from './bus-tally.ts';
import { CleanupStack } from './cleanup-stack.ts';
import { kernelDrops, kernelDropsOf } from './kernel-count.ts';
import type { AttackVector } from './plan.ts';
import { Attack, planIn } from './run.ts';
import { Talk } from './talk.ts';

/**
 * Frames per second over all vectors: well above any threshold, with a few hundred packets before
 * the deletion.
 */
const RATE = 400;
/** Limit of one attack; the deletion ends it long before. */
const MAX_FRAMES = 20_000;
/**
 * Limit of the wait for the deletion (grace period included) and for complete counts on the bus.
 */
const DELETION_TIMEOUT_MS = 60_000;
const COUNTED_TIMEOUT_MS = 30_000;
/** Limit of the wait for frames in flight. */
const LANDING_TIMEOUT_MS = 10_000;
const LANDING_POLL_MS = 20;
/** A round without any answers takes a minute. */
const ROUNDS_TIMEOUT_MS = 90_000;
/** Rounds of ordinary traffic required before the attack and after the deletion. */
const ROUNDS_BEFORE = 3;
const ROUNDS_AFTER = 10;
const QUESTIONS_PER_ROUND = 6;

/** Pods by role. */
export interface Cast {
  attacker: LabPodInfo;
  victim: LabPodInfo;
  /** Owner of the forged address, on the attacker's node. */
  claimed: LabPodInfo;
  /** An innocent pod, on another node if there is one. */
  far: LabPodInfo;
}

/**
 * Chooses three pods of one node and one of another. @param nodeName node of the attacker; default:
 * the first with three pods
 */
export function castOf(lab: Lab, nodeName?: string): Cast {
  const pods = lab.pods();
  const nodes = lab.parts.plan.nodes
    .map((node) => node.name)
    .filter((name) => nodeName === undefined || name === nodeName);
  for (const name of nodes) {
    const [attacker, victim, claimed] = pods.filter((pod) => pod.node === name);
    const far = pods.find((pod) => pod.node !== name) ?? claimed;
    if (attacker && victim && claimed && far) return { attacker, victim, claimed, far };
  }
  throw new LabError('LAB_USAGE', 'an attack needs three pods on one node');
}

export interface ChainProgress {
  sent: number;
  landed: number;
  countedOnBus: number;
  verdicts: number;
  responses: number;
  legit: { sent: number; received: number };
}

export interface ChainOutcome {
  sent: number;
  /** Kernel counter after the last packet; null without attached programs. */
  dropped: number | null;
  landed: Record<AttackVector, number>;
  landedTotal: number;
  countedOnBus: number;
  countedByVector: Record<string, number>;
  legit: { sent: number; received: number };
  /**
   * Kernel counters of all other running pods. A repeated question can hide a drop from its sender.
   */
  droppedOfInnocents: number;
  tally: BusTally;
  deleted: boolean;
  /** Innocent pods that no longer run under the same UID. */
  missingInnocents: string[];
  /**
   * Milliseconds from the first forged frame, by the clocks of bus and watch; null without the
   * event.
   */
  latencyMs: { firstViolation: number | null; verdict: number | null; deleteCall: number | null };
}

/** Packets dropped after the deletion of their pod started. */
export const cutOffPackets = (countedByVector: Record<string, number>): number =>
  (countedByVector['quarantine-ingress'] ?? 0) + (countedByVector['quarantine-egress'] ?? 0);

/** Control run: a fixed number of frames without attached programs. */
export async function controlRun(lab: Lab, cast: Cast, count: number) {
  const attack = await Attack.start(lab, cast.attacker.uid, stepsOf(lab, cast), { rate: RATE, count });
  await attack.sent();
  // The last frames land after their sender has ended. The count reports frames that do not land.
  for (const endMs = performance.now() + LANDING_TIMEOUT_MS; performance.now() < endMs; await delay(LANDING_POLL_MS)) {
    if (Object.values(attack.progress().landed).reduce((sum, landed) => sum + landed, 0) >= count) break;
  }
  return attack.finish();
}

/** Removes the neighbour entries that a control run poisoned. */
export async function forgetNeighbours(lab: Lab): Promise<void> {
  const namespaces = [...lab.pods(), ...lab.parts.plan.nodes].map(({ netns }) => netns);
  await Promise.all(namespaces.map((netns) => exec('ip', ['-n', netns, 'neigh', 'flush', 'all'])));
}

const stepsOf = (lab: Lab, cast: Cast) =>
  planIn(lab, { attacker: cast.attacker.uid, victim: cast.victim.uid, claimed: cast.claimed.uid });

const legitOf = (talks: readonly Talk[]) => ({
  sent: talks.reduce((sum, talk) => sum + talk.counts.sent, 0),
  received: talks.reduce((sum, talk) => sum + talk.counts.received, 0),
});

/** Waits until each exchange has completed this many further rounds. */
async function awaitRounds(talks: readonly Talk[], rounds: number, signal?: AbortSignal): Promise<void> {
  const goals = talks.map((talk) => talk.counts.sent + rounds * QUESTIONS_PER_ROUND);
  const probe = () => {
    const behind = talks.find((talk, index) => talk.counts.sent < goals[index]!);
    return behind ? { seen: `${behind.from} has asked ${behind.counts.sent}` } : { value: true };
  };
  await until('ordinary traffic to go on', probe, { timeoutMs: ROUNDS_TIMEOUT_MS, signal });
}

/** Resolves when the API server first shows the pod as terminating. */
function watchDeletion(lab: Lab, pod: LabPodInfo) {
  const client = lab.kube();
  const stop = new AbortController();
  const seen: { atMicros: number | null; gone: boolean } = { atMicros: null, gone: false };
  const look = (value: LabPod) => {
    if (value.uid === pod.uid && value.deletionGraceSeconds !== null) seen.atMicros ??= Date.now() * 1000;
  };
  const reflector = new Reflector<LabPod>({
    client,
    path: `/api/v1/namespaces/${pod.namespace}/pods`,
    fieldSelector: `metadata.name=${pod.name}`,
    select: readPod,
    onAdd: look,
    onUpdate: look,
    onDelete: (value) => {
      seen.gone ||= value.uid === pod.uid;
    },
  });
  const running = reflector.run(stop.signal);
  return {
    seen,
    stop: async () => {
      stop.abort();
      await running;
      client.close();
    },
  };
}

/** @throws LabError if a part does not finish in time; all started parts are stopped first */
export async function chainRun(
  lab: Lab,
  cast: Cast,
  options: { onProgress?: (progress: ChainProgress) => void; signal?: AbortSignal } = {},
): Promise<ChainOutcome> {
  await using parts = new CleanupStack();
  const innocents = lab.pods().filter((pod) => pod.uid !== cast.attacker.uid);
  const bus = parts.register(await lab.bus('cli'), (each) => each.close());
  const watch = parts.register(watchBus(bus, cast.attacker.uid), (each) => each.stop());
  const deletion = parts.register(watchDeletion(lab, cast.attacker), (each) => each.stop());
  const start = async (from: LabPodInfo, to: LabPodInfo) =>
    parts.register(await Talk.start(lab, from.uid, to.uid), (talk) => talk.finish());
  const own = await start(cast.attacker, cast.far);
  const others = [await start(cast.victim, cast.claimed), await start(cast.far, cast.victim)];
  const talks = [own, ...others];
  await awaitRounds(talks, ROUNDS_BEFORE, options.signal);

  let dropped: number | null = null;
  lab.beforeTeardown(cast.attacker.uid, async () => {
    dropped = await kernelDrops(lab, cast.attacker.uid);
  });
  const shape = { rate: RATE, count: MAX_FRAMES };
  const attack = parts.register(await Attack.start(lab, cast.attacker.uid, stepsOf(lab, cast), shape), (each) =>
    each.abort(),
  );
  const report = () => options.onProgress?.(progressOf(attack, watch.tally, talks));
  const deleted = () => (deletion.seen.gone ? { value: true } : seenSo(attack, watch.tally, report));
  const awaited = until('the attacking pod to be deleted', deleted, waiting(DELETION_TIMEOUT_MS, options.signal));
  await Promise.race([awaited, watch.failed]);
  const outcome = await attack.finish();
  const counted = () => {
    const done = watch.tally.totalPackets >= outcome.sent && watch.tally.isAnswered(ENFORCED_ACTIONS);
    return done ? { value: true } : seenSo(attack, watch.tally, report);
  };
  await until(
    'the bus to have counted every packet and recorded every response',
    counted,
    waiting(COUNTED_TIMEOUT_MS, options.signal),
  );
  await awaitRounds(others, ROUNDS_AFTER, options.signal);
  for (const talk of talks) await talk.finish();
  const now = new Set(lab.pods().map((pod) => pod.uid));
  const droppedOfInnocents = await kernelDropsOf(lab, innocents);
  const since = (atMicros: number | null) =>
    atMicros === null || outcome.firstAtMicros === null ? null : (atMicros - outcome.firstAtMicros) / 1000;
  return {
    sent: outcome.sent,
    dropped,
    landed: outcome.landed,
    landedTotal: outcome.landedTotal,
    countedOnBus: watch.tally.totalPackets,
    countedByVector: watch.tally.packets,
    legit: legitOf(talks),
    droppedOfInnocents,
    tally: watch.tally,
    deleted: deletion.seen.gone,
    missingInnocents: innocents.filter((pod) => !now.has(pod.uid)).map((pod) => pod.name),
    latencyMs: {
      firstViolation: since(watch.tally.firstViolationAtMicros),
      verdict: since(watch.tally.firstVerdictAtMicros),
      deleteCall: since(deletion.seen.atMicros),
    },
  };
}

const waiting = (timeoutMs: number, signal?: AbortSignal) => ({ timeoutMs, everyMs: 50, signal });

function progressOf(attack: Attack, tally: BusTally, talks: readonly Talk[]): ChainProgress {
  const { sent, landed } = attack.progress();
  return {
    sent,
    landed: Object.values(landed).reduce((sum, count) => sum + count, 0),
    countedOnBus: tally.totalPackets,
    verdicts: tally.verdicts.length,
    responses: tally.finished.length,
    legit: legitOf(talks),
  };
}

function seenSo(attack: Attack, tally: BusTally, report: () => void): { seen: string } {
  report();
  const responses = tally.responses.map(({ action, phase, reasonCode }) => `${action} ${phase} ${reasonCode}`.trim());
  return {
    seen: `sent ${attack.progress().sent}, counted ${tally.totalPackets}, ${tally.verdicts.length} verdicts, responses: ${responses.join('; ') || 'none'}`,
  };
}
