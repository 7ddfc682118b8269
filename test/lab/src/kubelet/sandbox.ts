/**
 * One pod on one lab node, created in the order of a container runtime: cgroup (named by the UID),
 * network namespace, loopback and pod network through real CNI plugins with cached results, then
 * the process, which starts inside cgroup and namespace. Teardown reverses this and handles a
 * partial start.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { createCgroup, killCgroup, removeCgroup, terminateCgroup } from '../cgroup.ts';
import { type Attachment, type PodSide, podSide } from '../cni/cache.ts';
import { type CniConfList, loopbackNetwork } from '../cni/conf.ts';
import { type CniHost, cniAdd, cniDel } from '../cni/plugin.ts';
import { LabError } from '../errors.ts';
import { podNetns } from '../names.ts';
import { labtoolArgs } from '../native-tool.ts';
import { createNetns, deleteNetns } from '../net/netns.ts';
import { type LineProcess, startLines, stopLines } from '../process/lines.ts';

/** Port on which every lab pod answers, UDP and TCP. */
export const POD_PORT = 7777;
/** A container that does not listen by then has failed. */
const START_TIMEOUT_MS = 30_000;

export interface SandboxHost {
  labId: string;
  cni: CniHost;
  network: CniConfList;
  /** Cgroup directory of the node; contains `kubepods`. */
  cgroupDir: string;
  labtool: string;
}

export interface PodRef {
  uid: string;
  namespace: string;
  name: string;
  annotations: Record<string, string>;
}

export interface Sandbox extends PodSide {
  pod: PodRef;
  sandboxId: string;
  containerId: string;
  netns: string;
  /** Cgroup of the pod; the container's is below it. */
  podCgroupDir: string;
  containerCgroupDir: string;
  process: LineProcess;
  startedAt: string;
}

const newId = () => randomBytes(32).toString('hex');

function attachments(host: SandboxHost, pod: PodRef, sandboxId: string): [Attachment, Attachment] {
  const common = {
    containerId: sandboxId,
    podUid: pod.uid,
    podNamespace: pod.namespace,
    podName: pod.name,
    podAnnotations: pod.annotations,
    cgroupParent: `/kubepods/burstable/pod${pod.uid}`,
  };
  return [
    { ...common, conf: loopbackNetwork(), ifName: 'lo' },
    { ...common, conf: host.network, ifName: 'eth0' },
  ];
}

/** Starts the container's process and waits until it listens. */
async function startProcess(labtool: string, netns: string, cgroup: string): Promise<LineProcess> {
  let listening: () => void = () => undefined;
  const ready = new Promise<'ready'>((resolve) => {
    listening = () => resolve('ready');
  });
  const container = await startLines(labtool, labtoolArgs({ netns, cgroup }, ['serve', String(POD_PORT)]), {
    onLine: listening,
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), START_TIMEOUT_MS);
  });
  const outcome = await Promise.race([ready, late, container.ended]);
  clearTimeout(timer);
  if (outcome === 'ready') return container;
  await stopLines(container, 'SIGKILL', 0);
  throw new LabError('LAB_PROCESS_ENDED', `the container did not start (${outcome}): ${container.stderrTail()}`);
}

/**
 * @throws LabError LAB_CNI, LAB_COMMAND_FAILED, LAB_PROCESS_ENDED, after removing all parts of the
 * pod
 */
export async function createSandbox(host: SandboxHost, pod: PodRef): Promise<Sandbox> {
  const netns = podNetns(host.labId, pod.uid);
  const sandboxId = newId();
  const containerId = newId();
  const podCgroupDir = path.join(host.cgroupDir, 'kubepods', 'burstable', `pod${pod.uid}`);
  const containerCgroupDir = path.join(podCgroupDir, containerId);
  try {
    await createCgroup(containerCgroupDir);
    await createNetns(netns);
    const [loopback, network] = attachments(host, pod, sandboxId);
    await cniAdd(host.cni, loopback, netns);
    const side = podSide(await cniAdd(host.cni, network, netns));
    const process = await startProcess(host.labtool, netns, containerCgroupDir);
    const startedAt = new Date().toISOString();
    return { pod, sandboxId, containerId, netns, podCgroupDir, containerCgroupDir, process, startedAt, ...side };
  } catch (error) {
    await removeSandbox(host, { pod, sandboxId, netns, podCgroupDir }).catch((cause) => {
      throw new AggregateError([error, cause], `${pod.name}: neither started nor removed`);
    });
    throw error;
  }
}

/**
 * Sends SIGTERM to every process of the pod (also a shell or an attacker), then removes everything.
 * @param graceMs between SIGTERM and SIGKILL @param beforeTeardown called after the last process
 * ended, while the interface still exists
 */
export async function stopSandbox(
  host: SandboxHost,
  sandbox: Sandbox,
  graceMs: number,
  beforeTeardown?: () => Promise<void>,
): Promise<void> {
  await terminateCgroup(sandbox.containerCgroupDir, graceMs);
  await killCgroup(sandbox.podCgroupDir);
  await sandbox.process.ended;
  await beforeTeardown?.();
  await removeSandbox(host, sandbox);
}

/** Handles a partially created pod. */
async function removeSandbox(
  host: SandboxHost,
  sandbox: Pick<Sandbox, 'pod' | 'sandboxId' | 'netns' | 'podCgroupDir'>,
): Promise<void> {
  await killCgroup(sandbox.podCgroupDir);
  const made = attachments(host, sandbox.pod, sandbox.sandboxId).toReversed();
  for (const attachment of made) await cniDel(host.cni, attachment, sandbox.netns);
  await deleteNetns(sandbox.netns);
  await removeCgroup(sandbox.podCgroupDir);
}
