/**
 * Starts a lab, independent parts concurrently: servers and namespaces, then the apps, then pods,
 * so that collectors see every interface appear. Returns when everything is ready. On failure or
 * abort it first removes what was created.
 */
import { createWriteStream, mkdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { cgroup2Mount, createCgroup } from '../cgroup.ts';
import { podNetwork } from '../cni/conf.ts';
import { cniBinDir } from '../cni/plugin.ts';
import { LabError } from '../errors.ts';
import { Kubelet, type KubeletNode, type LocalPod } from '../kubelet/kubelet.ts';
import type { LabPod } from '../kubelet/pod.ts';
import { Replicas } from '../kubelet/replicas.ts';
import { LABS_DIR, newLabId } from '../names.ts';
import { buildFabric } from '../net/fabric.ts';
import { startRelay } from '../net/relay.ts';
import { DEFAULT_OPTIONS, type LabOptions, type NodePlan, planLab } from '../plan.ts';
import { exec } from '../process/exec.ts';
import { buildLab } from '../services/build.ts';
import { CollectorTokens } from '../services/bus-auth.ts';
import { makeCredentials } from '../services/credentials.ts';
import { startApiServerProcess, startNatsServer, startRedisServer } from '../services/servers.ts';
import { childStarter } from '../services/start-child.ts';
import { requireFree } from '../state/retire.ts';
import { type LabState, processStartTicks, writeState } from '../state/state.ts';
import { counted } from '../text.ts';
import { until } from '../until.ts';
import { Lab, type LabParts } from './lab.ts';
import { createObjects } from './objects.ts';
import { provisionBus } from './provision.ts';

/** Limit of the wait for all pods: 250 ptp pods, 16 at a time, 2 s each, on a busy machine. */
const PODS_TIMEOUT_MS = 120_000;
/** Changes of pods within this time are written to the state file together. */
const STATE_COALESCE_MS = 100;

export interface BringUp extends Partial<LabOptions> {
  labsDir?: string;
  id?: string;
  /** False: servers, nodes and pods without Bailiff, for tests that only need packets. */
  withApps?: boolean;
  /** Short progress text. */
  onProgress?: (text: string) => void;
  /** Handled problems as text. */
  onProblem?: (text: string) => void;
  signal?: AbortSignal;
}

interface Making {
  lab: Lab;
  parts: LabParts;
  progress: (text: string) => void;
  problem: (text: string) => void;
  signal?: AbortSignal;
  state: LabState;
}

function requireRoot(): void {
  if (process.geteuid?.() !== 0) {
    throw new LabError('LAB_NOT_ROOT', 'a lab creates network namespaces and loads kernel programs: run it as root');
  }
}

/** Creates the lab's directory, state, cgroup and log, and the callbacks of its parts. */
async function begin(options: BringUp): Promise<Making> {
  const labsDir = options.labsDir ?? LABS_DIR;
  const plan = planLab(options.id ?? newLabId(), { ...DEFAULT_OPTIONS, ...definedOf(options) }, labsDir);
  await requireFree(plan.id, labsDir);
  requireRoot();
  const cgroupMount = cgroup2Mount();
  cniBinDir(['loopback', 'host-local', plan.options.cni]);
  const progress = options.onProgress ?? (() => undefined);
  const withApps = options.withApps ?? true;
  const labtool = await buildLab({ withApps, onBuild: progress, signal: options.signal });
  if (options.signal?.aborted) throw new LabError('LAB_INTERRUPTED', 'interrupted');
  // Checked again: the build may take minutes, and another lab with this id may have started.
  await requireFree(plan.id, labsDir);
  const state: LabState = {
    version: 1,
    id: plan.id,
    pid: process.pid,
    startTicks: processStartTicks(process.pid) ?? '',
    createdAt: new Date().toISOString(),
    phase: 'starting',
    cgroupDir: path.join(cgroupMount, plan.cgroup),
    processes: [],
    info: null,
  };
  // The state is written first, so that any process can remove the lab from here on.
  writeState(plan.dir, state);
  const logsDir = path.join(plan.dir, 'logs');
  mkdirSync(logsDir, { recursive: true });
  const log = createWriteStream(path.join(logsDir, 'lab.log'));
  log.on('error', () => undefined);
  const problem = (text: string) => {
    log.write(`${new Date().toISOString()} ${text}\n`);
    options.onProblem?.(text);
  };
  const children: LabParts['children'] = new Map();
  const startChild = childStarter({
    labtool,
    logsDir,
    systemCgroupDir: path.join(state.cgroupDir, 'system'),
    makeCgroup: createCgroup,
    onStarted: (child) => {
      children.set(child.name, child);
      // Started during an abort; nothing waits for its readiness.
      if (options.signal?.aborted) child.kill('SIGKILL');
      state.processes = [...children.values()].map(({ name, pid, logFile }) => ({ name, pid, log: logFile }));
      writeState(plan.dir, state);
    },
  });
  const guarded = !plan.options.unguarded;
  const relays: LabParts['relays'] = new Map();
  const onProblem = problem;
  const parts: LabParts = { plan, labsDir, labtool, cgroupMount, startChild, children, relays, guarded, onProblem };
  return { lab: new Lab(parts), parts, progress, problem, signal: options.signal, state };
}

/** Only the given options, so that an undefined one does not hide a default. */
function definedOf(options: BringUp): Partial<LabOptions> {
  const { nodes, podsPerNode, cni, unguarded, enforce, replace, siem, busAuth } = options;
  const given = { nodes, podsPerNode, cni, unguarded, enforce, replace, siem, busAuth };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

async function bringUpBus({ lab, parts }: Making): Promise<void> {
  parts.natsPort = (await startNatsServer(parts.plan, parts.credentials!, parts.startChild)).port;
  const bus = await lab.bus('admin');
  try {
    await provisionBus(bus, { enforce: parts.plan.options.enforce });
  } finally {
    await bus.close();
  }
}

/**
 * Starts the API server and creates the objects that the apps need: nodes, the pods' owner, the
 * namespace of the Lease.
 */
async function bringUpKubernetes(making: Making): Promise<void> {
  const { lab, parts } = making;
  parts.api = await startApiServerProcess(parts.plan, parts.credentials!, parts.startChild);
  const kube = lab.kube('kubelet');
  lab.onStop(() => kube.close());
  parts.owner = await createObjects(kube, parts.plan, new Date().toISOString());
  if (!parts.plan.options.busAuth) return;
  const tokens = new CollectorTokens(kube, parts.plan, parts.onProblem);
  lab.onStop(() => tokens.stop());
  await tokens.start();
}

async function prepareNode(node: NodePlan, parts: LabParts): Promise<void> {
  for (const dir of [node.cniResultsDir, node.ipamDir, node.bpfDir, node.stateDir])
    await mkdir(dir, { recursive: true });
  await createCgroup(path.join(parts.cgroupMount, node.cgroup));
  // Interface indexes repeat between nodes and pins are named by them, so each node has its own
  // bpffs.
  await exec('mount', ['-t', 'bpf', 'bailiff-lab', node.bpfDir]);
}

async function bringUpNetwork({ parts }: Making): Promise<void> {
  await buildFabric(parts.plan);
  await Promise.all(parts.plan.nodes.map((node) => prepareNode(node, parts)));
}

async function bringUpServers(making: Making): Promise<void> {
  const { parts, progress } = making;
  progress('servers: NATS, Redis, Kubernetes API; nodes and their network');
  parts.credentials = await makeCredentials(parts.plan);
  const redis = startRedisServer(parts.plan, parts.startChild).then(({ port }) => {
    parts.redisPort = port;
  });
  await all([bringUpBus(making), redis, bringUpKubernetes(making), bringUpNetwork(making)]);
  await all(
    parts.plan.nodes.map(async (node) => {
      parts.relays.set(node.name, await startRelay(parts.labtool, node.netns, parts.natsPort!));
    }),
  );
}

async function bringUpApps({ lab, parts, progress }: Making): Promise<void> {
  const { nodes, options } = parts.plan;
  const more = [
    ...(options.siem ? (['siem-relay'] as const) : []),
    ...(options.busAuth ? (['bus-auth'] as const) : []),
  ];
  const names = ['ipam-sync', 'correlator', 'responder', ...more] as const;
  progress(`apps: ${names.join(', ')}, ${counted(nodes.length, 'collector')}`);
  const apps = names.map((name) => lab.startApp(name));
  await all([...apps, ...nodes.flatMap((node) => [lab.startCollector(node), lab.startPodEnds(node)])]);
}

function kubeletNodes(parts: LabParts): Map<string, KubeletNode> {
  const { plan, cgroupMount, labtool } = parts;
  const binDir = cniBinDir(['loopback', 'host-local', plan.options.cni]);
  return new Map(
    plan.nodes.map((node) => [
      node.name,
      {
        labId: plan.id,
        cni: { nodeNetns: node.netns, resultsDir: node.cniResultsDir, binDir },
        network: podNetwork({ plugin: plan.options.cni, ...node }),
        cgroupDir: path.join(cgroupMount, node.cgroup),
        labtool,
        addresses: [node.address4, node.address6],
      },
    ]),
  );
}

async function bringUpPods(making: Making): Promise<void> {
  const { lab, parts, problem, progress, signal } = making;
  const { plan } = parts;
  const desired = plan.options.podsPerNode * plan.nodes.length;
  progress(`pods: ${desired} through the ${plan.options.cni} plugin`);
  const api = lab.kube('kubelet');
  lab.onStop(() => api.close());
  const owner = parts.owner!;
  let ready = 0;
  const onPods = (pods: readonly LabPod[]) => {
    ready = pods.filter((pod) => pod.ready && pod.controllerUid === owner.replicaSet.uid).length;
    parts.replicas?.observe(pods);
    keepState(making);
  };
  const beforeTeardown = (pod: LocalPod) => lab.lastLook(pod.pod.uid);
  parts.kubelet = new Kubelet({ api, nodes: kubeletNodes(parts), onProblem: problem, onPods, beforeTeardown });
  parts.replicas = new Replicas({ api, owner, desired, replace: plan.options.replace, onProblem: problem });
  const { kubelet, replicas } = parts;
  lab.onStop(async () => {
    await replicas.stop();
    await kubelet.stop();
  });
  replicas.start();
  kubelet.start();
  const probe = () => (ready >= desired ? { value: true } : { seen: `${ready} of ${desired} are ready` });
  await until('all pods to be ready', probe, { timeoutMs: PODS_TIMEOUT_MS, signal });
}

const pendingState = new WeakMap<Making, NodeJS.Timeout>();

/** Schedules a write of the running pods to the state file. */
function keepState(making: Making): void {
  const { state, lab, parts } = making;
  if (state.phase !== 'ready' || pendingState.has(making)) return;
  const timer = setTimeout(() => {
    pendingState.delete(making);
    if (state.phase !== 'ready') return;
    state.info = lab.info();
    writeState(parts.plan.dir, state);
  }, STATE_COALESCE_MS);
  timer.unref();
  pendingState.set(making, timer);
}

/**
 * Runs all steps; rejects only after all have settled, so that nothing is created during the
 * removal.
 */
async function all(steps: readonly Promise<unknown>[]): Promise<void> {
  const outcomes = await Promise.allSettled(steps);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
}

/**
 * Starts a lab and resolves when it is ready. The caller owns and stops it. @throws LabError,
 * BusError, KubeError or CgroupError of the failing part, after removing everything
 */
export async function startLab(options: BringUp = {}): Promise<Lab> {
  const making = await begin(options);
  const { lab, parts, progress, state, signal } = making;
  // Ends open waits, so that the removal can start.
  const abandon = () => {
    for (const child of parts.children.values()) child.kill('SIGKILL');
  };
  signal?.addEventListener('abort', abandon, { once: true });
  lab.onStop(() => {
    state.phase = 'stopping';
    writeState(parts.plan.dir, state);
  });
  try {
    const withApps = options.withApps ?? true;
    for (const step of [bringUpServers, ...(withApps ? [bringUpApps] : []), bringUpPods]) {
      await step(making);
      if (signal?.aborted) throw new LabError('LAB_INTERRUPTED', 'interrupted');
    }
    if (withApps) {
      progress(parts.guarded ? 'waiting until every interface is guarded' : 'waiting until every node is listed');
      await lab.awaitReady({ signal });
    }
    state.phase = 'ready';
    state.info = lab.info();
    writeState(parts.plan.dir, state);
    return lab;
  } catch (error) {
    await lab.stop();
    throw signal?.aborted ? new LabError('LAB_INTERRUPTED', 'interrupted', { cause: error }) : error;
  } finally {
    signal?.removeEventListener('abort', abandon);
  }
}
