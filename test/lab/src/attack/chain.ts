/**
 * The whole chain once: a pod forges until it is deleted, beside ordinary traffic, its own and that of innocents. Collects what
 * each part saw, so that the numbers can be held against each other: the sender, the kernel, the witnesses, the bus, the API server.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Reflector } from '@bailiff/kube';
import { LabError } from '../errors.ts';
import { type LabPod, readPod } from '../kubelet/pod.ts';
import { exec } from '../process/exec.ts';
import type { LabPodInfo } from '../state/state.ts';
import type { Lab } from '../supervisor/lab.ts';
import { until } from '../until.ts';
import { type BusTally, watchBus } from './bus-tally.ts';
import { Owned } from './cleanup-stack.ts';
import { kernelDrops, kernelDropsOf } from './kernel-count.ts';
import type { AttackVector } from './plan.ts';
import { Attack, planIn } from './run.ts';
import { Talk } from './talk.ts';

/** Frames a second over all vectors: well above any threshold, and still a few hundred packets by the time of the deletion. */
const RATE = 400;
/** Bound of one attack; it ends by the pod's deletion long before. */
const MAX_FRAMES = 20_000;
/** Longest wait for the deletion (the pod's grace is within it), and for the bus to have counted everything. */
const DELETION_TIMEOUT_MS = 60_000;
const COUNTED_TIMEOUT_MS = 30_000;
/** For frames that are on their way, and how often their count is looked at. */
const LANDING_TIMEOUT_MS = 10_000;
const LANDING_POLL_MS = 20;
/** A round whose questions all get no answer takes a minute. */
const ROUNDS_TIMEOUT_MS = 90_000;
/** Rounds of ordinary traffic that must pass before the attack and after the deletion. */
const ROUNDS_BEFORE = 3;
const ROUNDS_AFTER = 10;
const QUESTIONS_PER_ROUND = 6;

/** Who plays which part. */
export interface Cast {
  attacker: LabPodInfo;
  victim: LabPodInfo;
  /** Whose address is forged: an innocent of the attacker's node. */
  claimed: LabPodInfo;
  /** An innocent of another node where there is one. */
  far: LabPodInfo;
}

/** Chooses them: three pods of one node and one of another. @param nodeName the attacker's; the first with three pods if absent */
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
  /** By the kernel's counter after the last packet; null when nothing was attached. */
  dropped: number | null;
  landed: Record<AttackVector, number>;
  landedTotal: number;
  countedOnBus: number;
  countedByVector: Record<string, number>;
  legit: { sent: number; received: number };
  /** By the kernel's counters, of all others that run on: an answer may come in spite of a drop, when its question is repeated. */
  droppedOfInnocents: number;
  tally: BusTally;
  deleted: boolean;
  /** Innocents that do not run any more as the same pod. */
  missingInnocents: string[];
  /** From the first forged frame, by the clocks of the bus and of the watch; null when it never came. */
  latencyMs: { firstViolation: number | null; verdict: number | null; deleteCall: number | null };
}

/** Packets that were dropped because the deletion of their pod had begun. */
export const cutOffPackets = (countedByVector: Record<string, number>): number =>
  (countedByVector['quarantine-ingress'] ?? 0) + (countedByVector['quarantine-egress'] ?? 0);

/** Attack without an answer: a fixed number of frames while nothing is attached. */
export async function controlRun(lab: Lab, cast: Cast, count: number) {
  const attack = await Attack.start(lab, cast.attacker.uid, stepsOf(lab, cast), { rate: RATE, count });
  await attack.sent();
  // The last ones land after their sender has ended. What does not land, the count says.
  for (const endMs = performance.now() + LANDING_TIMEOUT_MS; performance.now() < endMs; await delay(LANDING_POLL_MS)) {
    if (Object.values(attack.progress().landed).reduce((sum, landed) => sum + landed, 0) >= count) break;
  }
  return attack.finish();
}

/** Forgeries that were believed in a control run must not disturb what follows. */
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

/** Waits until each of these has had so many answered or lost rounds more. */
async function awaitRounds(talks: readonly Talk[], rounds: number, signal?: AbortSignal): Promise<void> {
  const goals = talks.map((talk) => talk.counts.sent + rounds * QUESTIONS_PER_ROUND);
  const probe = () => {
    const behind = talks.find((talk, index) => talk.counts.sent < goals[index]!);
    return behind ? { seen: `${behind.from} has asked ${behind.counts.sent}` } : { value: true };
  };
  await until('ordinary traffic to go on', probe, { timeoutMs: ROUNDS_TIMEOUT_MS, signal });
}

/** Tells when the API server first showed this pod as being deleted. */
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

/** @throws LabError when a part does not come to its end in time; everything that was started has ended then */
export async function chainRun(
  lab: Lab,
  cast: Cast,
  options: { onProgress?: (progress: ChainProgress) => void; signal?: AbortSignal } = {},
): Promise<ChainOutcome> {
  await using parts = new Owned();
  const innocents = lab.pods().filter((pod) => pod.uid !== cast.attacker.uid);
  const bus = parts.adopt(await lab.bus('cli'), (each) => each.close());
  const watch = parts.adopt(watchBus(bus, cast.attacker.uid), (each) => each.stop());
  const deletion = parts.adopt(watchDeletion(lab, cast.attacker), (each) => each.stop());
  const start = async (from: LabPodInfo, to: LabPodInfo) =>
    parts.adopt(await Talk.start(lab, from.uid, to.uid), (talk) => talk.finish());
  const own = await start(cast.attacker, cast.far);
  const others = [await start(cast.victim, cast.claimed), await start(cast.far, cast.victim)];
  const talks = [own, ...others];
  await awaitRounds(talks, ROUNDS_BEFORE, options.signal);

  let dropped: number | null = null;
  lab.beforeTeardown(cast.attacker.uid, async () => {
    dropped = await kernelDrops(lab, cast.attacker.uid);
  });
  const shape = { rate: RATE, count: MAX_FRAMES };
  const attack = parts.adopt(await Attack.start(lab, cast.attacker.uid, stepsOf(lab, cast), shape), (each) =>
    each.abort(),
  );
  const report = () => options.onProgress?.(progressOf(attack, watch.tally, talks));
  const deleted = () => (deletion.seen.gone ? { value: true } : seenSo(attack, watch.tally, report));
  const awaited = until('the attacking pod to be deleted', deleted, waiting(DELETION_TIMEOUT_MS, options.signal));
  await Promise.race([awaited, watch.failed]);
  const outcome = await attack.finish();
  const counted = () => {
    report();
    const finished = watch.tally.finished.some((response) => response.action === 'delete');
    const { totalPackets } = watch.tally;
    return totalPackets >= outcome.sent && finished ? { value: true } : { seen: `${totalPackets} of ${outcome.sent}` };
  };
  await until('the bus to have counted every packet', counted, waiting(COUNTED_TIMEOUT_MS, options.signal));
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
