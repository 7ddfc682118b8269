/**
 * The kernel's drop count of a pod's interface, read from the pinned maps without collector and
 * bus.
 */

import { netnsPath } from '../names.ts';
import { exec } from '../process/exec.ts';
import { appBundle } from '../services/build.ts';
import type { LabPodInfo } from '../state/state.ts';
import type { Lab } from '../supervisor/lab.ts';

interface OfflineStatus {
  interfaces: { interfaceName: string; droppedPackets: number; auditedPackets: number }[];
}

/** Limit for a hanging command; it starts slowly on a busy machine. */
const STATUS_TIMEOUT_MS = 60_000;

async function statusOf(lab: Lab, nodeName: string): Promise<OfflineStatus> {
  const node = lab.node(nodeName);
  const dirs = ['--bpf-dir', node.bpfDir, '--state-dir', node.stateDir];
  const command = [process.execPath, appBundle('collector'), 'status', '--json', ...dirs];
  const options = { timeoutMs: STATUS_TIMEOUT_MS };
  return JSON.parse(await exec('nsenter', [`--net=${netnsPath(node.netns)}`, ...command], options)) as OfflineStatus;
}

/** Dropped packets of a pod so far; null if its interface is not guarded. */
export async function kernelDrops(lab: Lab, uid: string): Promise<number | null> {
  const pod = lab.parts.kubelet?.pods.get(uid);
  if (!pod) return null;
  const { interfaces } = await statusOf(lab, pod.nodeName);
  return interfaces.find((each) => each.interfaceName === pod.hostInterface)?.droppedPackets ?? null;
}

/** Sum over several pods on any nodes; unguarded interfaces count as zero. */
export async function kernelDropsOf(lab: Lab, pods: readonly LabPodInfo[]): Promise<number> {
  let sum = 0;
  for (const name of new Set(pods.map(({ node }) => node))) {
    const theirs = pods.filter(({ node }) => node === name).map(({ hostInterface }) => hostInterface);
    const { interfaces } = await statusOf(lab, name);
    for (const each of interfaces) if (theirs.includes(each.interfaceName)) sum += each.droppedPackets;
  }
  return sum;
}
