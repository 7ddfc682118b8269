/**
 * Pod status as a kubelet reports it: all addresses, conditions, one container. Pure: JSON merge
 * patches of the status subresource, limited to the fields that kubectl shows and Bailiff reads.
 */
import type { LabPod } from './pod.ts';

export interface RunningPod {
  addresses: readonly string[];
  hostAddresses: readonly string[];
  containerId: string;
  startedAt: string;
}

const condition = (type: string, status: 'True' | 'False', at: string, reason?: string) => ({
  type,
  status,
  lastProbeTime: null,
  lastTransitionTime: at,
  ...(reason ? { reason } : {}),
});

/** Kubernetes writes times in whole seconds. */
export const wholeSeconds = (iso: string) => iso.replace(/\.\d+Z$/, 'Z');

export function runningStatus(pod: LabPod, running: RunningPod): Record<string, unknown> {
  const at = wholeSeconds(running.startedAt);
  const types = ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'];
  return {
    phase: 'Running',
    startTime: at,
    hostIP: running.hostAddresses[0],
    hostIPs: running.hostAddresses.map((ip) => ({ ip })),
    podIP: running.addresses[0],
    podIPs: running.addresses.map((ip) => ({ ip })),
    conditions: types.map((type) => condition(type, 'True', at)),
    containerStatuses: [
      {
        name: pod.containerName,
        image: pod.image,
        imageID: pod.image,
        containerID: `containerd://${running.containerId}`,
        ready: true,
        started: true,
        restartCount: 0,
        state: { running: { startedAt: at } },
      },
    ],
  };
}

/** Reported while the containers are stopped, and after a failed start or an unexpected exit. */
export function endedStatus(phase: 'Running' | 'Failed', reason: string, message: string, now: string) {
  const at = wholeSeconds(now);
  return {
    phase,
    ...(phase === 'Failed' ? { reason, message } : {}),
    conditions: [
      condition('Initialized', 'True', at),
      condition('Ready', 'False', at, reason),
      condition('ContainersReady', 'False', at, reason),
      condition('PodScheduled', 'True', at),
    ],
  };
}
