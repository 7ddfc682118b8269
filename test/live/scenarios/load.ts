/** A flood from one pod, and pods whose first act is an attack. */
import { randomBytes } from 'node:crypto';
import { udp4Frame } from '@bailiff/lab/attack';
import type { SendReport } from '../agent/agent.ts';
import { judged } from '../report/result.ts';
import type { Live, Scenario } from './scenario.ts';
import { remember, settled } from './scenario.ts';
import { castOf, uidsOf } from './spoof.ts';

const FLOOD_PACKETS = 1_000_000;
const CONTROL_PACKETS = 1_000;
const FIRST_ACT_PODS = 20;
const FIRST_ACT_PACKETS = 50;
const PODS_TIMEOUT_MS = 240_000;

export const floodFrame = async (live: Live, marker: Buffer) => {
  const { scene } = await castOf(live);
  return udp4Frame({ fromMac: scene.mac, toMac: scene.toMac, from: scene.claimed4, to: scene.victim4 }, marker);
};

export interface Sent {
  sent: number;
  landed: number;
}

/** The control of an attack: the same packets while the node is detached. */
export async function unguardedAttack(live: Live, count: number, marker = randomBytes(16)): Promise<Sent> {
  const { attacker, victim } = await castOf(live);
  await victim.watch([marker]);
  const [sent = 0] = await attacker.send([await floodFrame(live, marker)], count);
  return { sent, landed: (await victim.counts()).counts[marker.toString('hex')] ?? 0 };
}

function flood(): Scenario {
  let control: Sent | null = null;
  const marker = randomBytes(16);
  const hex = marker.toString('hex');
  return {
    name: 'flood',
    about: `${FLOOD_PACKETS} forged packets at full rate from one pod`,
    prepare: async (live) => uidsOf(await castOf(live)),
    control: async (live) => {
      control = await unguardedAttack(live, CONTROL_PACKETS, marker);
    },
    run: async (live) => {
      const { attacker, victim, scene } = await castOf(live);
      if (!scene.victim4) return { status: 'skipped', detail: 'the cluster has no IPv4' };
      const landedBefore = (await victim.watch([marker])).counts[hex] ?? 0;
      const counted = () => live.watch.packets(attacker.uid, 'ipv4-source');
      const before = counted();
      const frames = [(await floodFrame(live, marker)).toString('hex')];
      const begin = performance.now();
      const report = await attacker.call<SendReport & { before: SendReport }>({
        ...{ op: 'send', job: 'flood', frames, count: FLOOD_PACKETS, rate: null },
      });
      const seconds = (performance.now() - begin) / 1000;
      // The veth may drop packets of a flood before the guard. Those are in tx_dropped.
      const dropped = report.tx_dropped - report.before.tx_dropped;
      const sent = (report.sent[0] ?? 0) - dropped;
      remember(live, attacker.uid, 'ipv4-source', sent);
      const after = await settled(counted, before + sent, 60_000);
      const landed = ((await victim.counts()).counts[hex] ?? 0) - landedBefore;
      const guarded = { sent, landed, counted: after - before };
      const measured = { 'packets per second': Math.round(sent / seconds), 'dropped by the veth': dropped };
      return { ...judged([{ vector: 'ipv4-source', control, guarded }]), measured };
    },
  };
}

/**
 * Each pod sends forged packets before anything else. A packet is either dropped and counted, or it
 * passed before the guard was attached.
 */
const FIRST_ACT: Scenario = {
  name: 'first-packet',
  about: `${FIRST_ACT_PODS} pods at once whose first act is ${FIRST_ACT_PACKETS} forged packets each`,
  prepare: async (live) => uidsOf(await castOf(live)),
  run: async (live) => {
    const { victim, scene } = await castOf(live);
    if (!scene.victim4) return { status: 'skipped', detail: 'the cluster has no IPv4' };
    const namespace = await live.stage.namespace('first');
    const marker = randomBytes(16);
    await victim.watch([marker]);
    const act = { to: scene.victim4, from: scene.claimed4, marker: marker.toString('hex'), count: FIRST_ACT_PACKETS };
    const names = Array.from({ length: FIRST_ACT_PODS }, (_, index) => `first-${index}`);
    await Promise.all(
      names.map((name) => live.stage.startPod(namespace, name, { env: { LIVE_FIRST_ACT: JSON.stringify(act) } })),
    );
    const pods = await Promise.all(
      names.map((name) => live.stage.ready(namespace, name, { timeoutMs: PODS_TIMEOUT_MS })),
    );
    const total = { sent: 0, counted: 0, unguarded: 0 };
    for (const pod of pods) {
      const sent = (await pod.info()).first?.sent ?? 0;
      total.sent += sent;
      total.counted += await settled(() => live.watch.packets(pod.uid, 'ipv4-source'), sent);
    }
    for (const pod of pods)
      total.unguarded += (await live.watch.interfaceOf(live.node, pod.uid))?.packetsBeforeGuard ?? 0;
    const landed = (await victim.counts()).counts[marker.toString('hex')] ?? 0;
    const measured = { ...total, landed };
    const what = `${total.sent} packets of ${pods.length} pods: ${landed} landed, ${total.counted} counted, ${total.unguarded} packets before a guard`;
    const isGood = landed === 0 && total.counted === total.sent;
    return { status: isGood ? 'passed' : 'failed', detail: what, measured };
  },
};

export const LOAD_SCENARIOS: readonly Scenario[] = [flood(), FIRST_ACT];
