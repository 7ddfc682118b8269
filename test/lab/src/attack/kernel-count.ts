/** The kernel's own count of drops at one pod's interface, read from the pinned maps past collector and bus. */

import { netnsPath } from '../names.ts';
import { exec } from '../process/exec.ts';
import { appBundle } from '../supervisor/build.ts';
import type { Lab } from '../supervisor/lab.ts';

interface OfflineStatus {
  interfaces: { interfaceName: string; droppedPackets: number; auditedPackets: number }[];
}

/** Packets dropped so far of what the pod sent; null when its interface is not guarded (any more). */
export async function kernelDrops(lab: Lab, uid: string): Promise<number | null> {
  const pod = lab.parts.kubelet?.pods.get(uid);
  if (!pod) return null;
  const node = lab.node(pod.nodeName);
  const dirs = ['--bpf-dir', node.bpfDir, '--state-dir', node.stateDir];
  const command = [process.execPath, appBundle('collector'), 'status', '--json', ...dirs];
  const status = JSON.parse(await exec('nsenter', [`--net=${netnsPath(node.netns)}`, ...command])) as OfflineStatus;
  return status.interfaces.find((each) => each.interfaceName === pod.hostInterface)?.droppedPackets ?? null;
}
