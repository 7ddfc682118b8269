/**
 * The kubelet of all lab nodes: watches pods, starts those bound to a lab node, stops deleted ones
 * and confirms the deletion with a delete without grace period. Steps of one pod run one at a time
 * in the order of events; up to MAX_AT_ONCE pods are processed concurrently.
 */
import { type KubeApi, KubeError, Reflector } from '@bailiff/kube';
import type { LabError } from '../errors.ts';
import { decide, type Local, type Step } from './decide.ts';
import { type LabPod, MIRROR_ANNOTATION, podPath, readPod } from './pod.ts';
import { createSandbox, type Sandbox, type SandboxHost, stopSandbox } from './sandbox.ts';
import { endedStatus, runningStatus } from './status.ts';

/**
 * Sandboxes created or removed at once. A ptp sandbox mostly waits for duplicate address detection.
 */
const MAX_AT_ONCE = 16;
/**
 * Attempts to start a pod, 200 ms apart, before it is reported Failed. A plugin's lock or a late
 * release of an address may need one more.
 */
const MAX_STARTS = 5;
const START_RETRY_MS = 200;
/**
 * A failed step (the API server was unreachable for longer than the client retries) is decided
 * again without limit.
 */
const STEP_RETRY_MS = 500;

export interface KubeletNode extends SandboxHost {
  addresses: readonly string[];
}
export interface KubeletOptions {
  api: KubeApi;
  /** By node name; pods of other nodes are ignored. */
  nodes: ReadonlyMap<string, KubeletNode>;
  /** Handled problems as text for the lab's log. */
  onProblem: (text: string) => void;
  /** Called after every change of a pod at the API server; drives the replica controller. */
  onPods?: (pods: readonly LabPod[]) => void;
  /** Called when all processes of a stopping pod have ended and its interface still exists. */
  beforeTeardown?: (pod: LocalPod) => Promise<void>;
}
export interface LocalPod extends Sandbox {
  nodeName: string;
}

export class Kubelet {
  #options: KubeletOptions;
  #reflector: Reflector<LabPod>;
  #stop = new AbortController();
  #local = new Map<string, LocalPod>();
  #starts = new Map<string, number>();
  #busy = new Set<string>();
  #queue: string[] = [];
  #active = 0;
  #idle: (() => void)[] = [];
  #running: Promise<void> = Promise.resolve();

  constructor(options: KubeletOptions) {
    this.#options = options;
    const changed = (uid: string) => {
      this.#enqueue(uid);
      options.onPods?.(this.#reflector.values());
    };
    this.#reflector = new Reflector<LabPod>({
      client: options.api,
      path: '/api/v1/pods',
      select: readPod,
      onAdd: (_, uid) => changed(uid),
      onUpdate: (_, __, uid) => changed(uid),
      onDelete: (_, uid) => changed(uid),
      onSync: () => options.onPods?.(this.#reflector.values()),
      onError: (error) => {
        if (!this.#stop.signal.aborted) options.onProblem(`watching pods: ${error.message}`);
      },
    });
  }

  /** Local pods by UID. */
  get pods(): ReadonlyMap<string, LocalPod> {
    return this.#local;
  }

  start(): void {
    this.#running = this.#reflector.run(this.#stop.signal);
  }

  /** Stops the watch and waits for open steps; the pods stay until the lab is removed. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#queue = [];
    while (this.#active > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #enqueue(uid: string): void {
    if (this.#stop.signal.aborted) return;
    if (!this.#queue.includes(uid)) this.#queue.push(uid);
    this.#pump();
  }

  #pump(): void {
    while (this.#active < MAX_AT_ONCE) {
      const at = this.#queue.findIndex((uid) => !this.#busy.has(uid));
      if (at < 0) return;
      const [uid] = this.#queue.splice(at, 1) as [string];
      this.#busy.add(uid);
      this.#active += 1;
      void this.#work(uid)
        .catch((error: Error) => {
          this.#options.onProblem(`pod ${uid}: ${error.message}`);
          setTimeout(() => this.#enqueue(uid), STEP_RETRY_MS).unref();
        })
        .finally(() => {
          this.#busy.delete(uid);
          this.#active -= 1;
          for (const resolve of this.#idle.splice(0)) resolve();
          this.#pump();
        });
    }
  }

  async #work(uid: string): Promise<void> {
    const pod = this.#reflector.get(uid) ?? null;
    const local = this.#local.get(uid);
    if (pod && (!this.#options.nodes.has(pod.nodeName) || MIRROR_ANNOTATION in pod.annotations)) return;
    const state: Local = !local ? 'absent' : local.process.hasEnded() ? 'exited' : 'running';
    const step = decide(pod, state);
    if (step.do !== 'nothing') await this.#carryOut(step, pod, local);
    if (!pod) this.#starts.delete(uid);
  }

  async #carryOut(step: Step, pod: LabPod | null, local: LocalPod | undefined): Promise<void> {
    if (step.do === 'start' && pod) await this.#startPod(pod);
    if (step.do === 'stop' && local) await this.#remove(local, step.graceMs);
    if (step.do === 'fail' && pod && local) {
      await this.#remove(local, 0);
      await this.#patchStatus(pod, endedStatus('Failed', 'ContainerExited', 'the process ended by itself', now()));
    }
    if (step.do === 'stop-and-confirm' && pod) {
      if (local) {
        await this.#patchStatus(pod, endedStatus('Running', 'PodTerminating', '', now()));
        await this.#remove(local, step.graceMs);
      }
      await this.#confirmDeleted(pod);
    }
  }

  async #startPod(pod: LabPod): Promise<void> {
    const node = this.#options.nodes.get(pod.nodeName) as KubeletNode;
    let sandbox: Sandbox;
    try {
      sandbox = await createSandbox(node, pod);
    } catch (error) {
      return this.#startFailed(pod, error as LabError);
    }
    this.#local.set(pod.uid, { ...sandbox, nodeName: pod.nodeName });
    void sandbox.process.ended.then(() => this.#enqueue(pod.uid));
    await this.#patchStatus(pod, runningStatus(pod, { ...sandbox, hostAddresses: node.addresses }));
  }

  async #startFailed(pod: LabPod, error: LabError): Promise<void> {
    const failures = (this.#starts.get(pod.uid) ?? 0) + 1;
    this.#starts.set(pod.uid, failures);
    this.#options.onProblem(
      `pod ${pod.namespace}/${pod.name}: start ${failures} of ${MAX_STARTS} failed: ${error.message}`,
    );
    if (failures < MAX_STARTS) setTimeout(() => this.#enqueue(pod.uid), START_RETRY_MS).unref();
    else await this.#patchStatus(pod, endedStatus('Failed', 'FailedCreatePodSandBox', error.message, now()));
  }

  async #remove(local: LocalPod, graceMs: number): Promise<void> {
    const node = this.#options.nodes.get(local.nodeName) as KubeletNode;
    await stopSandbox(node, local, graceMs, () => this.#options.beforeTeardown?.(local) ?? Promise.resolve());
    this.#local.delete(local.pod.uid);
  }

  /** The UID in the body makes the patch fail on a later pod with the same name. */
  async #patchStatus(pod: LabPod, status: Record<string, unknown>): Promise<void> {
    const body = { metadata: { uid: pod.uid }, status };
    await this.#unlessGone(this.#options.api.request({ verb: 'PATCH', path: `${podPath(pod)}/status`, body }));
  }

  async #confirmDeleted(pod: LabPod): Promise<void> {
    const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.uid } };
    await this.#unlessGone(this.#options.api.request({ verb: 'DELETE', path: podPath(pod), body }));
  }

  /** 404 and 409 mean that this pod is already gone, which makes the request obsolete. */
  async #unlessGone(request: Promise<unknown>): Promise<void> {
    try {
      await request;
    } catch (error) {
      if (error instanceof KubeError && (error.status === 404 || error.status === 409)) return;
      throw error;
    }
  }
}

const now = () => new Date().toISOString();
