/**
 * The node of the attacks reboots by a command of the operator. The kubelet starts its pods again
 * under the same UIDs: each is guarded again, and the counts before and after it are exact.
 */
import { randomBytes } from 'node:crypto';
import { apiPath, type Pod } from '@bailiff/kube';
import { udp4Frame } from '@bailiff/lab/attack';
import { waitFor } from '@bailiff/service/testing';
import { type AgentPod, sceneOf } from '../agent/agent.ts';
import { untilGuarded } from '../cluster/guard.ts';
import { runProgram } from '../cluster/kubectl.ts';
import type { Live, Scenario } from './scenario.ts';
import { remember, settled } from './scenario.ts';

const VECTOR = 'ipv4-source';
const PODS = 4;
const PACKETS = 50;
const COMMAND_TIMEOUT_MS = 600_000;
const BACK_TIMEOUT_MS = 600_000;
const COUNT_TIMEOUT_MS = 120_000;
/** Addresses for documentation: no pod receives these packets. */
const ACT = { to: '192.0.2.1', from: '192.0.2.2', marker: randomBytes(16).toString('hex'), count: PACKETS };

const restartsOf = async (live: Live, { namespace, name }: { namespace: string; name: string }): Promise<number> => {
  const path = apiPath`/api/v1/namespaces/${namespace}/pods/${name}`;
  const pod = await live.kube.request<Pod & { status?: { containerStatuses?: { restartCount: number }[] } }>({ path });
  return pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
};

const countedOf = (live: Live, uids: readonly string[]) =>
  uids.reduce((total, uid) => total + live.watch.packets(uid, VECTOR), 0);

/** The same pods after their restart, with their new addresses, all guarded. */
async function restarted(live: Live, pods: readonly AgentPod[], revision: number): Promise<AgentPod[]> {
  for (const pod of pods)
    await waitFor(async () => (await restartsOf(live, pod)) > 0, {
      what: `${pod.name} to be started again`,
      timeoutMs: BACK_TIMEOUT_MS,
      intervalMs: 1_000,
    });
  const again = await Promise.all(pods.map(({ namespace, name }) => live.stage.ready(namespace, name)));
  const uids = pods.map(({ uid }) => uid);
  await untilGuarded(live.watch, live.node, uids, revision);
  return again;
}

export const REBOOT: Scenario = {
  name: 'reboot',
  about: `the node reboots (--reboot-command); ${PODS} pods attack as their first act before and after it`,
  run: async (live) => {
    const { rebootCommand } = live.options;
    if (!rebootCommand) return { status: 'skipped', detail: 'needs --reboot-command' };
    const namespace = await live.stage.namespace('reboot');
    const names = Array.from({ length: PODS }, (_, index) => `attacker-${index}`);
    const env = { LIVE_FIRST_ACT: JSON.stringify(ACT) };
    const pods = await Promise.all(names.map((name) => live.stage.pod(namespace, name, { env })));
    const victim = await live.stage.pod(namespace, 'victim');
    const uids = pods.map(({ uid }) => uid);
    await untilGuarded(live.watch, live.node, [...uids, victim.uid]);
    const before = await settled(() => countedOf(live, uids), PODS * PACKETS, COUNT_TIMEOUT_MS);
    const revision = (await live.watch.node(live.node))?.revision ?? 0;
    live.log(`reboot: ${rebootCommand}`);
    await runProgram('sh', ['-c', rebootCommand], { input: '', timeoutMs: COMMAND_TIMEOUT_MS });
    const [target, ...attackers] = await restarted(live, [victim, ...pods], revision);
    if (!target || !attackers[0]) throw new Error('no pod came back');
    const first = (await settled(() => countedOf(live, uids), before + PODS * PACKETS, COUNT_TIMEOUT_MS)) - before;
    const marker = randomBytes(16);
    await target.watch([marker]);
    const { scene } = await sceneOf(attackers[0], target, target);
    const link = { fromMac: scene.mac, toMac: scene.toMac, from: scene.gateway4, to: scene.victim4 };
    const [sent = 0] = await attackers[0].send([udp4Frame(link, marker)], PACKETS);
    const own = (await settled(() => countedOf(live, uids), before + first + sent, COUNT_TIMEOUT_MS)) - before - first;
    const landed = (await target.counts()).counts[marker.toString('hex')] ?? 0;
    for (const [index, uid] of uids.entries()) remember(live, uid, VECTOR, 2 * PACKETS + (index === 0 ? sent : 0));
    const wanted = PODS * PACKETS;
    const seen = `first packets counted before ${before} and after ${first} of ${wanted}; then ${own} of ${sent} counted, ${landed} landed`;
    const isGood = before === wanted && first === wanted && own === sent && sent === PACKETS && landed === 0;
    return { status: isGood ? 'passed' : 'failed', detail: seen };
  },
};
