/** A drain evicts pods right after an attack: their last counts still reach the bus. */
import { randomBytes } from 'node:crypto';
import { apiPath, type Node } from '@bailiff/kube';
import { udp4Frame } from '@bailiff/lab/attack';
import { sceneOf } from '../agent/agent.ts';
import { untilGuarded } from '../cluster/guard.ts';
import { judged } from '../report/result.ts';
import { type Sent, unguardedAttack } from './load.ts';
import { remember, type Scenario, settled } from './scenario.ts';
import { castOf, uidsOf } from './spoof.ts';

const PODS = 4;
const PACKETS = 1_000;
const CONTROL_PACKETS = 500;
const LABEL = 'bailiff.dev/live-drain';
const DRAIN_TIMEOUT_S = 180;

function drain(): Scenario {
  let control: Sent | null = null;
  return {
    name: 'drain',
    about: `kubectl drain evicts ${PODS} pods of the suite right after each sent ${PACKETS} forged packets`,
    prepare: async (live) => uidsOf(await castOf(live)),
    control: async (live) => {
      control = await unguardedAttack(live, CONTROL_PACKETS);
    },
    run: async (live) => {
      const { victim, claimed, scene } = await castOf(live);
      if (!scene.victim4) return { status: 'skipped', detail: 'the cluster has no IPv4' };
      const node = await live.kube.request<Node>({ path: apiPath`/api/v1/nodes/${live.node}` });
      if (node.spec?.unschedulable) return { status: 'skipped', detail: `${live.node} is cordoned already` };
      const namespace = await live.stage.namespace('drain');
      const names = Array.from({ length: PODS }, (_, index) => `drained-${index}`);
      const labels = { [LABEL]: live.stage.run };
      const pods = await Promise.all(names.map((name) => live.stage.pod(namespace, name, { labels })));
      await untilGuarded(
        live.watch,
        live.node,
        pods.map(({ uid }) => uid),
      );
      const marker = randomBytes(16);
      await victim.watch([marker]);
      const attack = async (pod: (typeof pods)[number]) => {
        const own = (await sceneOf(pod, victim, claimed)).scene;
        const link = { fromMac: own.mac, toMac: own.toMac, from: own.claimed4, to: own.victim4 };
        const [sent = 0] = await pod.send([udp4Frame(link, marker)], PACKETS, PACKETS);
        remember(live, pod.uid, 'ipv4-source', sent);
        return sent;
      };
      const sent = await Promise.all(pods.map(attack));
      try {
        const flags = ['--force', '--ignore-daemonsets', '--delete-emptydir-data', `--timeout=${DRAIN_TIMEOUT_S}s`];
        await live.kubectl.run(['drain', live.node, `--pod-selector=${LABEL}=${live.stage.run}`, ...flags], {
          timeoutMs: (DRAIN_TIMEOUT_S + 10) * 1_000,
        });
      } finally {
        await live.kubectl.run(['uncordon', live.node]);
      }
      const total = sent.reduce((sum, one) => sum + one, 0);
      const counted = () => pods.reduce((sum, { uid }) => sum + live.watch.packets(uid, 'ipv4-source'), 0);
      const guarded = {
        sent: total,
        counted: await settled(counted, total, 60_000),
        landed: (await victim.counts()).counts[marker.toString('hex')] ?? 0,
      };
      return judged([{ vector: 'ipv4-source', control, guarded }]);
    },
  };
}

export const DRAIN = drain();
