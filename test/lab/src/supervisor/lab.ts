/**
 * A running lab and its operations. The supervisor process holds one; tests and the demo hold one
 * themselves. Created by bring-up.ts and ended by `stop`, which removes everything. After a killed
 * process, `takeDown` of cleanup.ts removes the lab by its id.
 */
import path from 'node:path';
import { type Bus, connectBus, type FixedRole } from '@bailiff/bus';
import { type KubeClient, loadKube } from '@bailiff/kube';
import { createCgroup } from '../cgroup.ts';
import { LabError } from '../errors.ts';
import type { Kubelet, LocalPod } from '../kubelet/kubelet.ts';
import type { OwnerTarget, Replicas } from '../kubelet/replicas.ts';
import { labtoolArgs } from '../native-tool.ts';
import type { Relay } from '../net/relay.ts';
import type { LabPlan, NodePlan } from '../plan.ts';
import { type LineOptions, type LineProcess, startLines } from '../process/lines.ts';
import {
  clusterAppRequest,
  collectorChildName,
  collectorRequest,
  needsKubernetes,
  podEndsRequest,
} from '../services/apps.ts';
import type { AppName } from '../services/build.ts';
import type { Child } from '../services/children.ts';
import type { ApiUser, LabCredentials } from '../services/credentials.ts';
import { Restarts } from '../services/restarts.ts';
import { type ApiServerProcess, READY_TIMEOUT_MS } from '../services/servers.ts';
import type { ChildRequest, StartChild } from '../services/start-child.ts';
import { removeEverything } from '../state/cleanup.ts';
import type { LabInfo, LabPodInfo } from '../state/state.ts';
import { awaitNodesReady } from './readiness.ts';

/** Grace period of an app between SIGTERM and SIGKILL. */
const STOP_GRACE_MS = 5_000;
/**
 * Limit of the wait for pods and guards; a ptp pod takes 2 s, and 250 of them start 16 at a time.
 */
const CONVERGE_TIMEOUT_MS = 90_000;

/** Parts created so far; `stop` handles any prefix. */
export interface LabParts {
  plan: LabPlan;
  labsDir: string;
  labtool: string;
  /** Absolute directory of the cgroup2 mount. */
  cgroupMount: string;
  startChild: StartChild;
  /** By name, running or ended. */
  children: Map<string, Child>;
  relays: Map<string, Relay>;
  credentials?: LabCredentials;
  natsPort?: number;
  redisPort?: number;
  api?: ApiServerProcess;
  owner?: OwnerTarget;
  kubelet?: Kubelet;
  replicas?: Replicas;
  /** True if collectors attach their programs. */
  guarded: boolean;
  /** Handled problems as text. */
  onProblem: (text: string) => void;
}

export class Lab implements AsyncDisposable {
  readonly parts: LabParts;
  #stopped: Promise<void> | null = null;
  #onStop: (() => Promise<void> | void)[] = [];
  #lastLooks = new Map<string, () => Promise<void>>();
  readonly #restarts: Restarts;

  constructor(parts: LabParts) {
    this.parts = parts;
    this.#restarts = new Restarts(parts.onProblem);
  }

  get id(): string {
    return this.parts.plan.id;
  }
  get natsUrl(): string {
    return `nats://127.0.0.1:${this.#have('natsPort')}`;
  }
  get redisUrl(): string {
    return `redis://127.0.0.1:${this.#have('redisPort')}`;
  }

  /** Running pods, sorted by name. */
  pods(): LabPodInfo[] {
    const running = [...(this.parts.kubelet?.pods.values() ?? [])];
    return running.map(podInfo).sort((a, b) => a.name.localeCompare(b.name));
  }

  info(): LabInfo {
    const { plan } = this.parts;
    return {
      natsUrl: this.natsUrl,
      redisUrl: this.redisUrl,
      kubeconfig: this.kubeconfig('admin'),
      nodes: plan.nodes.map(({ name, netns }) => ({ name, netns })),
      pods: this.pods(),
      id: plan.id,
      dir: plan.dir,
      credentials: { cli: this.#password('cli'), admin: this.#password('admin') },
    };
  }

  kubeconfig(user: ApiUser): string {
    return this.#have('api').kubeconfig(user);
  }
  kube(user: ApiUser = 'admin'): KubeClient {
    return loadKube({ kubeconfig: this.kubeconfig(user), userAgent: `bailiff-lab/${user}` });
  }
  /** Connects with the identity of a role; the caller closes the connection. */
  bus(role: FixedRole): Promise<Bus> {
    return connectBus({ servers: this.natsUrl, ...this.#password(role), name: `lab-${role}` });
  }

  node(name: string): NodePlan {
    const node = this.parts.plan.nodes.find((each) => each.name === name);
    if (!node) throw new LabError('LAB_NOT_FOUND', `no node ${name} in lab ${this.id}`);
    return node;
  }
  relay(node: string): Relay {
    const relay = this.parts.relays.get(node);
    if (!relay) throw new LabError('LAB_NOT_FOUND', `no relay for ${node} in lab ${this.id}`);
    return relay;
  }
  child(name: string): Child {
    const child = this.parts.children.get(name);
    if (!child) throw new LabError('LAB_NOT_FOUND', `nothing called ${name} runs in lab ${this.id}`);
    return child;
  }

  /**
   * Runs labtool as a process of a pod: in its network namespace and cgroup, and ended with the
   * pod.
   */
  inPod(uid: string, command: readonly string[], options: LineOptions = {}): Promise<LineProcess> {
    const pod = this.parts.kubelet?.pods.get(uid);
    if (!pod) throw new LabError('LAB_NOT_FOUND', `no pod ${uid} runs in lab ${this.id}`);
    const place = { netns: pod.netns, cgroup: pod.containerCgroupDir };
    return startLines(this.parts.labtool, labtoolArgs(place, command), options);
  }

  /** Runs labtool in a pod's network namespace but outside the pod: a witness that outlives it. */
  async besidePod(uid: string, command: readonly string[], options: LineOptions = {}): Promise<LineProcess> {
    const pod = this.parts.kubelet?.pods.get(uid);
    if (!pod) throw new LabError('LAB_NOT_FOUND', `no pod ${uid} runs in lab ${this.id}`);
    const cgroup = path.join(this.parts.cgroupMount, this.parts.plan.cgroup, 'system', 'witnesses');
    await createCgroup(cgroup);
    return startLines(this.parts.labtool, labtoolArgs({ netns: pod.netns, cgroup }, command), options);
  }

  /** Starts an app with one instance and waits until it is ready. */
  async startApp(name: Exclude<AppName, 'collector'>): Promise<Child> {
    const user = needsKubernetes(name) ? name : 'admin';
    const seeds = this.#have('credentials').callout?.seeds;
    const targets = {
      natsUrl: this.natsUrl,
      redisUrl: this.redisUrl,
      kubeconfig: this.kubeconfig(user),
      ...(seeds ? { seeds } : {}),
    };
    return this.#startKept(clusterAppRequest(name, this.#credential(name), targets));
  }

  /** Starts a node's collector. It attaches its programs only if the lab is guarded. */
  async startCollector(node: NodePlan): Promise<Child> {
    const request = collectorRequest(node, this.#credential(`collector-${node.name}`), {
      cgroupRoot: path.join(this.parts.cgroupMount, node.cgroup),
      observeOnly: !this.parts.guarded,
    });
    return this.#startKept(request);
  }

  startPodEnds(node: NodePlan): Promise<Child> {
    return this.#startKept(podEndsRequest(node));
  }

  /** Restarts the app after each exit once it was ready, until it is stopped. */
  async #startKept(request: ChildRequest): Promise<Child> {
    const child = await this.parts.startChild(request);
    await child.ready(READY_TIMEOUT_MS);
    this.#restarts.keep(child, () => this.parts.startChild(request));
    return child;
  }

  /** Restarts all collectors with or without attaching, and waits until that is the state. */
  async setGuarded(guarded: boolean, signal?: AbortSignal): Promise<void> {
    this.parts.guarded = guarded;
    const since = new Date().toISOString();
    const { nodes } = this.parts.plan;
    await Promise.all(nodes.map((node) => this.child(collectorChildName(node)).stop(STOP_GRACE_MS)));
    await Promise.all(nodes.map((node) => this.startCollector(node)));
    await this.awaitReady({ since, signal });
  }

  /** Waits until all running pods are in the snapshots and, if the lab is guarded, guarded. */
  async awaitReady(options: { since?: string; signal?: AbortSignal } = {}): Promise<void> {
    const bus = await this.bus('admin');
    try {
      await awaitNodesReady({
        bus,
        plan: this.parts.plan,
        pods: () => this.pods(),
        guarded: this.parts.guarded,
        since: options.since ?? '',
        timeoutMs: CONVERGE_TIMEOUT_MS,
        signal: options.signal,
      });
    } finally {
      await bus.close();
    }
  }

  /**
   * Registers a function that is called once when this pod has stopped and its interface still
   * exists.
   */
  beforeTeardown(uid: string, look: () => Promise<void>): void {
    this.#lastLooks.set(uid, look);
  }
  /** Called by the kubelet. */
  async lastLook(uid: string): Promise<void> {
    const look = this.#lastLooks.get(uid);
    this.#lastLooks.delete(uid);
    await look?.();
  }

  /** Registers a step of `stop`; steps run last in first out. */
  onStop(step: () => Promise<void> | void): void {
    this.#onStop.push(step);
  }

  /**
   * Stops everything in order and removes it. Later calls return the same promise. @throws LabError
   * LAB_LEFTOVER
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    const { parts } = this;
    for (const step of this.#onStop.toReversed()) await step();
    await this.#restarts.stop();
    const servers = ['nats', 'redis', 'kube-api'];
    const apps = [...parts.children.values()].filter((child) => !servers.includes(child.name));
    await Promise.all(apps.map((child) => child.stop(STOP_GRACE_MS)));
    await Promise.all([...parts.relays.values()].map((relay) => relay.close()));
    await Promise.all([...parts.children.values()].map((child) => child.stop(0)));
    await removeEverything(parts.plan.id, parts.labsDir);
  }

  #have<K extends keyof LabParts>(key: K): NonNullable<LabParts[K]> {
    const value = this.parts[key];
    if (value === undefined || value === null) throw new LabError('LAB_NOT_READY', `lab ${this.id} has no ${key} yet`);
    return value;
  }
  /** Credentials of a user with a password. */
  #password(user: FixedRole): { user: string; passwordFile: string } {
    const { passwordFile } = this.#credential(user);
    if (passwordFile === undefined) throw new LabError('LAB_NOT_FOUND', `${user} has no password in lab ${this.id}`);
    return { user, passwordFile };
  }

  #credential(user: string) {
    const credential = this.#have('credentials').bus.get(user);
    if (!credential) throw new LabError('LAB_NOT_FOUND', `no bus user ${user} in lab ${this.id}`);
    return credential;
  }
}

function podInfo(pod: LocalPod): LabPodInfo {
  return {
    namespace: pod.pod.namespace,
    name: pod.pod.name,
    uid: pod.pod.uid,
    node: pod.nodeName,
    netns: pod.netns,
    ips: pod.addresses,
    mac: pod.mac,
    hostInterface: pod.hostInterface,
  };
}
