/**
 * Confirms the controllers of pods. Anyone who may write pods can name any controller of the
 * namespace as owner. So an owner counts only if the API server has an object with its UID and the
 * pod runs its template (program.ts). The controller's own owner is read from its metadata, which
 * writers of pods cannot change.
 *
 * ReplicaSets, ReplicationControllers and Jobs hold their template; StatefulSets and DaemonSets
 * have ControllerRevisions. Each template is read once; until then, or if it is unreadable, the pod
 * has no owner. Bounded: MAX_TEMPLATES_KEPT templates (unused ones are dropped first, refusals are
 * counted), of which a namespace gets a further one only while more are free than it has;
 * CONCURRENCY requests at once, namespaces in turn.
 */
import { apiPath, getObject, type KubeApi, KubeError, type KubeObject } from '@bailiff/kube';
import { FairCounts } from '@bailiff/service';
import { programOf } from './program.ts';
import { controllerOf, type Owner, type PodRecord } from './records.ts';

/** A cluster of 10,000 pods uses about 3,000 ReplicaSets. */
export const MAX_TEMPLATES_KEPT = 20_000;
const CONCURRENCY = 8;
/** Shortest time between two searches for unused templates, which look at every pod. */
const PRUNE_EVERY_MS = 1_000;
/** Backoff after transient failures. */
const RETRY = { firstMs: 1_000, maxMs: 300_000 };

type Claim = Pick<PodRecord, 'owner' | 'namespace' | 'controllerRevision'>;

/** The object that holds the template of a pod's controller. */
interface Template {
  /** UID and path, so a claim with the right UID and a wrong name is a separate entry. */
  key: string;
  path: string;
  /** True for a ControllerRevision, which the controller owns. */
  isRevision: boolean;
}

interface Known {
  /** The controller's own owner. */
  above: Owner | null;
  program: string;
}

interface Kept {
  namespace: string;
  /** null: being read, or permanently refused by the server. */
  known: Known | null;
}

interface Wanted {
  namespace: string;
  owner: Owner;
  template: Template;
}

/** Location of the template; null if there is none to read. Pure. */
export function templateOf({ owner, namespace, controllerRevision }: Claim): Template | null {
  if (owner === null) return null;
  const { kind, name, uid } = owner;
  const own = (path: string): Template => ({ key: `${uid} ${path}`, path, isRevision: false });
  if (kind === 'ReplicaSet') return own(apiPath`/apis/apps/v1/namespaces/${namespace}/replicasets/${name}`);
  if (kind === 'ReplicationController')
    return own(apiPath`/api/v1/namespaces/${namespace}/replicationcontrollers/${name}`);
  if (kind === 'Job') return own(apiPath`/apis/batch/v1/namespaces/${namespace}/jobs/${name}`);
  if ((kind !== 'DaemonSet' && kind !== 'StatefulSet') || controllerRevision === '') return null;
  const revision = kind === 'DaemonSet' ? `${name}-${controllerRevision}` : controllerRevision;
  const path = apiPath`/apis/apps/v1/namespaces/${namespace}/controllerrevisions/${revision}`;
  return { key: `${uid} ${path}`, path, isRevision: true };
}

export interface OwnerResolverOptions {
  client: KubeApi;
  /** A template was read; pods of this owner may be confirmed now. */
  onResolved(uid: string, namespace: string): void;
  /** All pods with their claims. */
  inUse(): Iterable<Claim>;
  signal: AbortSignal;
  /** Default MAX_TEMPLATES_KEPT. */
  maxTemplates?: number;
}

export class OwnerResolver {
  #options: OwnerResolverOptions;
  #known = new Map<string, Kept>();
  /** Known and queued templates by namespace. */
  readonly #counts: FairCounts;
  #prunedMs = Number.NEGATIVE_INFINITY;
  /** A queue per namespace; the next namespace in turn is first. */
  #queues = new Map<string, Map<string, Wanted>>();
  #queued = 0;
  #running = 0;
  #idle: (() => void)[] = [];
  #retry: NodeJS.Timeout | null = null;
  #retryMs: number = RETRY.firstMs;
  failures = 0;
  refused = 0;

  constructor(options: OwnerResolverOptions) {
    this.#options = options;
    this.#counts = new FairCounts(options.maxTemplates ?? MAX_TEMPLATES_KEPT);
    options.signal.addEventListener('abort', () => clearTimeout(this.#retry ?? undefined), { once: true });
  }

  get size(): number {
    return this.#known.size;
  }

  /** Confirmed controllers of a pod, lowest first; empty without confirmation. */
  chainOf(pod: Claim & Pick<PodRecord, 'program'>): Owner[] {
    const template = templateOf(pod);
    const known = template && this.#known.get(template.key)?.known;
    if (!known || pod.owner === null || known.program !== pod.program) return [];
    return known.above === null ? [pod.owner] : [pod.owner, known.above];
  }

  /** Reads the template of a pod's controller unless it is known or being read. */
  want(pod: Claim): void {
    const template = templateOf(pod);
    if (template === null || pod.owner === null || this.#known.has(template.key)) return;
    const queue = this.#queues.get(pod.namespace) ?? new Map<string, Wanted>();
    if (queue.has(template.key)) return;
    const { namespace, owner } = pod;
    if (!this.#counts.hasRoom(namespace)) this.#prune();
    if (!this.#counts.hasRoom(namespace)) {
      this.refused += 1;
      return;
    }
    this.#queues.set(namespace, queue.set(template.key, { namespace, owner, template }));
    this.#queued += 1;
    this.#counts.add(namespace);
    this.#pump();
  }

  /** Resolves when no request is open. */
  async whenIdle(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Takes the next request and moves its namespace to the end. */
  #next(): Wanted {
    const [namespace, queue] = this.#queues.entries().next().value as [string, Map<string, Wanted>];
    const [key, wanted] = queue.entries().next().value as [string, Wanted];
    queue.delete(key);
    this.#queues.delete(namespace);
    if (queue.size > 0) this.#queues.set(namespace, queue);
    this.#queued -= 1;
    return wanted;
  }

  #pump(): void {
    while (this.#running < CONCURRENCY && this.#queued > 0) {
      const wanted = this.#next();
      // Marked before the request, so that it is sent once.
      this.#known.set(wanted.template.key, { namespace: wanted.namespace, known: null });
      this.#running += 1;
      void this.#resolve(wanted).finally(() => {
        this.#running -= 1;
        this.#pump();
        if (this.#running === 0) for (const wake of this.#idle.splice(0)) wake();
      });
    }
  }

  async #resolve({ namespace, owner, template }: Wanted): Promise<void> {
    const { client, signal, onResolved } = this.#options;
    try {
      const object = await getObject(client, template.path, { signal });
      const known = object && knownFrom(object, owner, template);
      this.#retryMs = RETRY.firstMs;
      if (!known) {
        // Requested again with the next change of a pod that names it: a tenant can name a revision
        // before it exists.
        this.#forget(template.key);
        return;
      }
      // It may have been dropped as unused meanwhile.
      if (!this.#known.has(template.key)) this.#counts.add(namespace);
      this.#known.set(template.key, { namespace, known });
      onResolved(owner.uid, namespace);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (signal.aborted) return;
      this.failures += 1;
      // A rejected request stays rejected, because tenants choose the requested name.
      if (error.code === 'KUBE_INVALID') return;
      this.#forget(template.key);
      this.#retry ??= setTimeout(() => this.#again(), this.#retryMs).unref();
    }
  }

  #again(): void {
    this.#retry = null;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY.maxMs);
    for (const pod of this.#options.inUse()) this.want(pod);
  }

  #forget(key: string): void {
    const kept = this.#known.get(key);
    if (kept && this.#known.delete(key)) this.#counts.remove(kept.namespace);
  }

  /** Drops unused templates. */
  #prune(): void {
    const nowMs = performance.now();
    if (nowMs - this.#prunedMs < PRUNE_EVERY_MS) return;
    this.#prunedMs = nowMs;
    const inUse = new Set([...this.#options.inUse()].map((pod) => templateOf(pod)?.key));
    for (const key of this.#known.keys()) if (!inUse.has(key)) this.#forget(key);
  }
}

interface WithTemplate extends KubeObject {
  spec?: { template?: { spec?: Record<string, unknown> } };
  /** Field of a ControllerRevision. */
  data?: { spec?: { template?: { spec?: Record<string, unknown> } } };
}

/** The owner confirmed by an object; null if another controller has that name. */
function knownFrom(object: KubeObject, owner: Owner, { isRevision }: Template): Known | null {
  const { metadata, spec, data } = object as WithTemplate;
  const controller = controllerOf(metadata.ownerReferences);
  const isSame = isRevision
    ? controller?.uid === owner.uid && controller.kind === owner.kind && controller.name === owner.name
    : metadata.uid === owner.uid;
  const template = isRevision ? data?.spec?.template?.spec : spec?.template?.spec;
  const program = isSame && template !== undefined ? programOf(template, null) : null;
  return program === null ? null : { above: isRevision ? null : controller, program };
}
