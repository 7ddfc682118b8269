/** One scenario per vector: forged frames of one pod, unguarded and guarded. */
import { randomBytes } from 'node:crypto';
import { forgedFrame, MANUAL_VECTORS, type ManualVector, type Scene, tailOf } from '@bailiff/lab/attack';
import { type AgentPod, sceneOf } from '../agent/agent.ts';
import { judged } from '../report/result.ts';
import type { Live, Scenario } from './scenario.ts';
import { remember, settled } from './scenario.ts';

const FRAMES = 200;
const V6 = new Set<ManualVector>(['ipv6-source', 'nd-target', 'router-advert', 'redirect']);
/** Frames that end at the next hop: on a routed network no pod receives them. */
const LINK_ONLY = new Set<ManualVector>(['arp-sender', 'nd-target', 'router-advert', 'redirect', 'vlan-tag']);

interface Cast {
  attacker: AgentPod;
  victim: AgentPod;
  claimed: AgentPod;
  scene: Scene;
  isShared: boolean;
}

/** The three pods, shared by all vectors of a run. */
const casts = new WeakMap<Live['stage'], Promise<Cast>>();
export function castOf(live: Live): Promise<Cast> {
  const known = casts.get(live.stage) ?? makeCast(live);
  casts.set(live.stage, known);
  return known;
}

async function makeCast({ stage }: Live): Promise<Cast> {
  const namespace = await stage.namespace('spoof');
  await Promise.all(['attacker', 'victim', 'claimed'].map((name) => stage.startPod(namespace, name)));
  const [attacker, victim, claimed] = await Promise.all([
    stage.ready(namespace, 'attacker'),
    stage.ready(namespace, 'victim'),
    stage.ready(namespace, 'claimed'),
  ]);
  return { attacker, victim, claimed, ...(await sceneOf(attacker, victim, claimed)) };
}

export const uidsOf = ({ attacker, victim, claimed }: Cast) => [attacker.uid, victim.uid, claimed.uid];

interface Sent {
  sent: number;
  landed: number;
}

/** Sends marked frames and returns how many the victim received. */
async function attack({ attacker, victim }: Cast, frame: Buffer, marker: Buffer): Promise<Sent> {
  const hex = marker.toString('hex');
  const before = (await victim.watch([marker])).counts[hex] ?? 0;
  const [sent = 0] = await attacker.send([frame], FRAMES);
  const { counts, missed } = await victim.counts();
  if (missed > 0) throw new Error(`the receiver missed ${missed} packets`);
  return { sent, landed: (counts[hex] ?? 0) - before };
}

function spoofing(vector: ManualVector): Scenario {
  let control: Sent | null = null;
  const frames = new WeakMap<Live['stage'], { frame: Buffer; marker: Buffer }>();
  const frameOf = (live: Live, scene: Scene) => {
    const { frame } = forgedFrame(vector, scene, randomBytes(16));
    const known = frames.get(live.stage) ?? { frame, marker: tailOf(frame) };
    frames.set(live.stage, known);
    return known;
  };
  const missing = ({ scene, isShared }: Cast): string => {
    if (V6.has(vector) ? !scene.victim6 : !scene.victim4) return `the cluster has no IPv${V6.has(vector) ? 6 : 4}`;
    if (LINK_ONLY.has(vector) && !isShared) return 'pods share no segment, so no pod receives this frame';
    return '';
  };
  return {
    name: `spoof-${vector}`,
    about: `${FRAMES} frames of the vector ${vector} from a pod to another one`,
    prepare: async (live) => uidsOf(await castOf(live)),
    control: async (live) => {
      const cast = await castOf(live);
      if (missing(cast)) return;
      const { frame, marker } = frameOf(live, cast.scene);
      control = await attack(cast, frame, marker);
    },
    run: async (live) => {
      const cast = await castOf(live);
      const reason = missing(cast);
      if (reason) return { status: 'skipped', detail: reason };
      const { frame, marker } = frameOf(live, cast.scene);
      const counted = () => live.watch.packets(cast.attacker.uid, vector);
      const before = counted();
      const { sent, landed } = await attack(cast, frame, marker);
      remember(live, cast.attacker.uid, vector, sent);
      const after = await settled(counted, before + sent);
      return judged([{ vector, control, guarded: { sent, landed, counted: after - before } }]);
    },
  };
}

export const SPOOF_SCENARIOS: readonly Scenario[] = MANUAL_VECTORS.map(spoofing);
