/**
 * Scheduler and replica controller of the lab: keeps the desired number of pods of the ReplicaSet,
 * places each new pod on the least used schedulable node, and updates the owner's counts, which
 * guards of responses read. Decisions are pure; the class applies them one round at a time.
 */
import { randomInt } from 'node:crypto';
import { type KubeApi, type KubeObject, Reflector } from '@bailiff/kube';
import type { LabPod } from './pod.ts';

export interface LabNode {
  name: string;
  unschedulable: boolean;
}

const isOver = (pod: LabPod) =>
  pod.phase === 'Failed' || pod.phase === 'Succeeded' || pod.deletionGraceSeconds !== null;

/**
 * Nodes for new pods, one name per pod. Cordoned nodes get none; without nodes there are none.
 * Pure.
 */
export function planReplicas(
  desired: number,
  pods: readonly Pick<LabPod, 'nodeName' | 'phase' | 'deletionGraceSeconds'>[],
  nodes: readonly LabNode[],
): string[] {
  const alive = pods.filter((pod) => !isOver(pod as LabPod));
  const open = nodes.filter((node) => !node.unschedulable).map((node) => node.name);
  const counts = new Map(open.map((name) => [name, alive.filter((pod) => pod.nodeName === name).length]));
  const created: string[] = [];
  for (let missing = desired - alive.length; missing > 0 && open.length > 0; missing--) {
    const emptiest = open.reduce((best, name) => (counts.get(name)! < counts.get(best)! ? name : best));
    counts.set(emptiest, counts.get(emptiest)! + 1);
    created.push(emptiest);
  }
  return created;
}

/** Counts for the owner's status. Pure. */
export function replicaCounts(pods: readonly LabPod[]): { replicas: number; readyReplicas: number } {
  const alive = pods.filter((pod) => !isOver(pod));
  return { replicas: alive.length, readyReplicas: alive.filter((pod) => pod.ready).length };
}

/** Alphabet of Kubernetes' generated names: no vowels, no similar letters. */
const SUFFIX_LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
export function nameSuffix(pick: (below: number) => number = (below) => randomInt(below)): string {
  return Array.from({ length: 5 }, () => SUFFIX_LETTERS[pick(SUFFIX_LETTERS.length)]).join('');
}

export interface OwnerTarget {
  namespace: string;
  replicaSet: { name: string; uid: string };
  deployment: { name: string };
  labels: Record<string, string>;
  image: string;
}

/** A pod of the ReplicaSet, bound to its node from the start. Pure. */
export function podManifest(owner: OwnerTarget, nodeName: string, suffix: string): Record<string, unknown> {
  const { name, uid } = owner.replicaSet;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-${suffix}`,
      namespace: owner.namespace,
      labels: owner.labels,
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      nodeName,
      serviceAccountName: 'default',
      terminationGracePeriodSeconds: 30,
      containers: [
        {
          name: 'web',
          image: owner.image,
          ports: [{ containerPort: 7777, protocol: 'TCP' }],
          resources: { requests: { cpu: '10m', memory: '16Mi' } },
        },
      ],
    },
  };
}

export interface ReplicasOptions {
  api: KubeApi;
  owner: OwnerTarget;
  desired: number;
  /** False: only the first pods are created, none is replaced. */
  replace: boolean;
  onProblem: (text: string) => void;
}

/** Wait after a failed round; the client has retried with backoff before. */
const RETRY_MS = 500;

export class Replicas {
  #options: ReplicasOptions;
  #nodes: Reflector<LabNode>;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #pods: readonly LabPod[] = [];
  #dirty = false;
  #working: Promise<void> | null = null;
  #filled = false;
  #reported = '';
  /**
   * Created and not yet in the watch. They count as alive, otherwise a slow watch would create pods
   * twice.
   */
  #expected = new Map<string, LabPod>();

  constructor(options: ReplicasOptions) {
    this.#options = options;
    const changed = () => this.#reconcileSoon();
    this.#nodes = new Reflector<LabNode>({
      client: options.api,
      path: '/api/v1/nodes',
      select: (object) => ({
        name: object.metadata.name,
        unschedulable: (object as KubeObject & { spec?: { unschedulable?: boolean } }).spec?.unschedulable === true,
      }),
      onUpdate: changed,
      onSync: changed,
      onError: (error) => {
        if (!this.#stop.signal.aborted) options.onProblem(`watching nodes: ${error.message}`);
      },
    });
  }

  start(): void {
    this.#running = this.#nodes.run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#working;
  }

  /** Called by the kubelet's watch. */
  observe(pods: readonly LabPod[]): void {
    this.#pods = pods.filter((pod) => pod.controllerUid === this.#options.owner.replicaSet.uid);
    for (const pod of this.#pods) this.#expected.delete(pod.uid);
    this.#reconcileSoon();
  }

  #reconcileSoon(): void {
    this.#dirty = true;
    if (this.#working || !this.#nodes.synced || this.#stop.signal.aborted) return;
    this.#working = this.#reconcile()
      .catch((error: Error) => {
        this.#options.onProblem(`replicas: ${error.message}`);
        setTimeout(() => this.#reconcileSoon(), RETRY_MS).unref();
      })
      .finally(() => {
        this.#working = null;
        if (this.#dirty) this.#reconcileSoon();
      });
  }

  async #reconcile(): Promise<void> {
    this.#dirty = false;
    const { desired, owner, replace } = this.#options;
    const pods = [...this.#pods, ...this.#expected.values()];
    if (pods.length >= desired) this.#filled = true;
    if (replace || !this.#filled) {
      await Promise.all(planReplicas(desired, pods, this.#nodes.values()).map((nodeName) => this.#create(nodeName)));
    }
    const counts = replicaCounts(this.#pods);
    const text = JSON.stringify(counts);
    if (text === this.#reported) return;
    this.#reported = text;
    const at = `/apis/apps/v1/namespaces/${owner.namespace}`;
    const status = { ...counts, availableReplicas: counts.readyReplicas };
    const patch = (path: string, body: unknown) =>
      this.#options.api.request({ verb: 'PATCH', path: `${at}/${path}/status`, body });
    await patch(`replicasets/${owner.replicaSet.name}`, { status });
    // All pods have the same template.
    await patch(`deployments/${owner.deployment.name}`, { status: { ...status, updatedReplicas: counts.replicas } });
  }

  async #create(nodeName: string): Promise<void> {
    const { owner, api } = this.#options;
    const manifest = podManifest(owner, nodeName, nameSuffix());
    const made = await api.request<KubeObject>({
      verb: 'POST',
      path: `/api/v1/namespaces/${owner.namespace}/pods`,
      body: manifest,
    });
    const pod = { uid: made.metadata.uid, nodeName, phase: 'Pending', deletionGraceSeconds: null } as LabPod;
    if (!this.#pods.some((seen) => seen.uid === pod.uid)) this.#expected.set(pod.uid, pod);
  }
}
