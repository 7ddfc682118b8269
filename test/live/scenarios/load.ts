/** A flood from one pod. */
import { randomBytes } from 'node:crypto';
import { udp4Frame } from '@bailiff/lab/attack';
import type { SendReport } from '../agent/agent.ts';
import { judged } from '../report/result.ts';
import type { Live, Scenario } from './scenario.ts';
import { remember, settled } from './scenario.ts';
import { castOf, uidsOf } from './spoof.ts';

const FLOOD_PACKETS = 1_000_000;
const CONTROL_PACKETS = 1_000;

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
        op: 'send',
        job: 'flood',
        frames,
        count: FLOOD_PACKETS,
        rate: null,
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

export const FLOOD: Scenario = flood();
