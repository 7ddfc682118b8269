/** Parts of Bailiff end in the middle of an attack: nothing lands, no count is lost. */
import { randomBytes } from 'node:crypto';
import { apiPath, deletePod } from '@bailiff/kube';
import { waitFor } from '@bailiff/service/testing';
import type { SendReport } from '../agent/agent.ts';
import { componentPods } from '../cluster/facts.ts';
import { collectorOf } from '../cluster/guard.ts';
import { isRelease, rollback, upgrade } from '../install/install.ts';
import { tagSettings } from '../install/values.ts';
import { type Counts, judged } from '../report/result.ts';
import { floodFrame, type Sent, unguardedAttack } from './load.ts';
import type { Live, Scenario } from './scenario.ts';
import { remember, settled } from './scenario.ts';
import { castOf, uidsOf } from './spoof.ts';

const RATE = 2_000;
const MIN_PACKETS = 20_000;
const CONTROL_PACKETS = 500;
const RECOVERY_TIMEOUT_MS = 240_000;
const ROLLOUT_TIMEOUT_MS = 300_000;

/** Attacks at a steady rate while `disturb` runs, and until enough packets were sent after it. */
export async function attackDuring(
  live: Live,
  disturb: () => Promise<void>,
): Promise<{ guarded: Counts['guarded']; seconds: number }> {
  const { attacker, victim } = await castOf(live);
  const marker = randomBytes(16);
  const hex = marker.toString('hex');
  await victim.watch([marker]);
  const counted = () => live.watch.packets(attacker.uid, 'ipv4-source');
  const before = counted();
  const frames = [(await floodFrame(live, marker)).toString('hex')];
  const job = `chaos-${hex}`;
  await attacker.call({ op: 'send', job, frames, rate: RATE });
  const begin = performance.now();
  let seconds: number;
  try {
    await disturb();
    seconds = (performance.now() - begin) / 1000;
    await waitFor(async () => ((await attacker.call<SendReport>({ op: 'job', job })).sent[0] ?? 0) >= MIN_PACKETS, {
      what: `${MIN_PACKETS} packets of the attack`,
      timeoutMs: RECOVERY_TIMEOUT_MS,
      intervalMs: 500,
    });
  } finally {
    await attacker.call({ op: 'stop', job });
  }
  const report = await attacker.call<SendReport>({ op: 'job', job });
  if (report.error) throw new Error(`attacker: ${report.error}`);
  const sent = report.sent[0] ?? 0;
  remember(live, attacker.uid, 'ipv4-source', sent);
  const after = await settled(counted, before + sent, RECOVERY_TIMEOUT_MS);
  const landed = (await victim.counts()).counts[hex] ?? 0;
  return { guarded: { sent, landed, counted: after - before }, seconds: Math.round(seconds * 10) / 10 };
}

type Disturb = (live: Live) => Promise<void>;

/** @param unable why the cluster cannot run it; empty text if it can */
function disturbed(name: string, about: string, disturb: Disturb, unable = async (_: Live) => ''): Scenario {
  let control: Sent | null = null;
  return {
    name,
    about,
    prepare: async (live) => uidsOf(await castOf(live)),
    control: async (live) => {
      control = await unguardedAttack(live, CONTROL_PACKETS);
    },
    run: async (live) => {
      const { scene } = await castOf(live);
      const reason = scene.victim4 ? await unable(live) : 'the cluster has no IPv4';
      if (reason) return { status: 'skipped', detail: reason };
      const { guarded, seconds } = await attackDuring(live, () => disturb(live));
      const measured = { 'seconds until it was back': seconds };
      return { ...judged([{ vector: 'ipv4-source', control, guarded }]), measured };
    },
  };
}

const rollout = (live: Live, workload: string) =>
  live.kubectl.run(['-n', live.options.namespace, 'rollout', 'status', workload, '--timeout=280s'], {
    timeoutMs: ROLLOUT_TIMEOUT_MS,
  });

/** Number of restarts of a pod's only container. */
async function restarts(live: Live, name: string): Promise<number> {
  const path = apiPath`/api/v1/namespaces/${live.options.namespace}/pods/${name}`;
  const pod = await live.kube.request<{ status?: { containerStatuses?: { restartCount: number; ready: boolean }[] } }>({
    path,
  });
  const [container] = pod.status?.containerStatuses ?? [];
  return container?.ready ? container.restartCount : -1;
}

export async function killCollector(live: Live): Promise<void> {
  const name = await collectorOf(live, live.node);
  const before = await restarts(live, name);
  // The collector shares the PID namespace of the host, so it finds its own pid by its parent.
  const script = `process.kill(findOwn(), 'SIGKILL');${FIND_OWN}`;
  await live.kubectl
    .run(['-n', live.options.namespace, 'exec', name, '--', 'node', '-e', script])
    .catch((error: Error) => live.log(`collector killed; exec ended: ${error.message.split('\n')[0]}`));
  await waitFor(async () => (await restarts(live, name)) > before, {
    what: `the container of ${name} to restart`,
    timeoutMs: ROLLOUT_TIMEOUT_MS,
    intervalMs: 500,
  });
}

/** The main process of this container: another process of the same cgroup that runs main.mjs. */
const FIND_OWN = `function findOwn(){const fs=require('fs');const own=fs.readFileSync('/proc/self/cgroup','utf8');
for(const pid of fs.readdirSync('/proc')){if(!/^\\d+$/.test(pid)||pid==process.pid)continue;
try{if(fs.readFileSync('/proc/'+pid+'/cgroup','utf8')===own&&fs.readFileSync('/proc/'+pid+'/cmdline','utf8').includes('main.mjs'))return Number(pid)}catch{}}
throw new Error('no collector in this container')}`;

async function restartNats(live: Live): Promise<void> {
  for (const { metadata } of await componentPods(live, 'nats')) {
    const { name, uid } = metadata;
    await deletePod(live.kube, { namespace: live.options.namespace, name, uid, gracePeriodSeconds: 1 });
  }
  await rollout(live, 'statefulset/bailiff-nats');
}

async function restartCollectors(live: Live): Promise<void> {
  await live.kubectl.run(['-n', live.options.namespace, 'rollout', 'restart', 'daemonset/bailiff-collector']);
  await rollout(live, 'daemonset/bailiff-collector');
}

/** Other images, or at least another pod template of the collectors: either replaces every collector. */
const upgradeRelease = (live: Live) => {
  const { upgradeTag } = live.options;
  const annotation = `collector.podAnnotations.live-run=run-${live.stage.run}`;
  return upgrade(live, upgradeTag ? tagSettings(upgradeTag) : [annotation]);
};

const withoutHelm = async (live: Live) => ((await isRelease(live)) ? '' : 'Bailiff was not installed by Helm');

export const CHAOS_SCENARIOS: readonly Scenario[] = [
  disturbed('chaos-collector-kill', 'SIGKILL to the collector of the node during an attack', killCollector),
  disturbed('chaos-collector-rollout', 'a rollout restart of the collectors during an attack', restartCollectors),
  disturbed('chaos-nats', 'all NATS servers deleted during an attack', restartNats),
  disturbed('chaos-upgrade', 'helm upgrade during an attack', upgradeRelease, withoutHelm),
  disturbed('chaos-rollback', 'helm rollback to the revision before, during an attack', rollback, withoutHelm),
];
