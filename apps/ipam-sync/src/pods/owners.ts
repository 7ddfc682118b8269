/**
 * Confirms the controllers of pods. Anyone who may write pods can name any controller of the
 * namespace as owner. So an owner counts only if the API server has an object with its UID and the
 * pod runs its template (program.ts). The controller's own owner is read from its metadata, which
 * writers of pods cannot change.
 *
 * ReplicaSets, ReplicationControllers and Jobs hold their template, which anyone who may write them can
 * edit in place: it is read again with a change of a pod, at most every REREAD_MS, and every REFRESH_MS.
 * StatefulSets and DaemonSets have ControllerRevisions, which never change. Until its template is
 * read, or if it is unreadable, a pod has no owner. Bounded: MAX_TEMPLATES_KEPT templates (unused ones are dropped first, refusals are
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
/** A template is read again with a change of a pod after this. */
export const REREAD_MS = 60_000;
/** And without one. */
export const REFRESH_MS = 600_000;
/** Shortest time between two searches for unused templates, which look at every pod. */
const PRUNE_EVERY_MS = 1_000;
/** Backoff after transient failures. */
const RETRY = { firstMs: 1_000, maxMs: 300_000 };

type Claim = Pick<PodRecord, 'owner' | 'namespace' | 'controllerRevision'>;
type Member = Claim & Pick<PodRecord, 'program'>;

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
  /** When it was last requested. */
  askedMs: number;
  /** null: being read, or permanently refused by the server. */
  known: Known | null;
}

interface Wanted {
  /** It was known when it was queued. */
  isKnown: boolean;
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

/** Such as `replicasets`. */
const kindOf = ({ path }: Template): string => path.split('/').at(-2) ?? '';

export interface OwnerResolverOptions {
  client: KubeApi;
  /** A template was read; pods of this owner may be confirmed now. */
  onResolved(uid: string, namespace: string): void;
  /** All pods with their claims. */
  inUse(): Iterable<Member>;
  signal: AbortSignal;
  /** Default MAX_TEMPLATES_KEPT. */
  maxTemplates?: number;
  /** Of a monotonic clock. Default: performance.now. */
  nowMs?: () => number;
}

/** Pods whose controller exists, but whose program is not its template's. */
export interface ClaimedMembers {
  pods: number;
  controllers: number;
}

export class OwnerResolver {
  #options: OwnerResolverOptions;
  #known = new Map<string, Kept>();
  /** Known and queued templates by namespace. */
  readonly #counts: FairCounts;
  readonly #nowMs: () => number;
  #prunedMs = Number.NEGATIVE_INFINITY;
  /** A queue per namespace; the next namespace in turn is first. */
  #queues = new Map<string, Map<string, Wanted>>();
  #queued = 0;
  #running = 0;
  #idle: (() => void)[] = [];
  #retry: NodeJS.Timeout | null = null;
  #retryMs: number = RETRY.firstMs;
  /** Why this account may not read a kind of templates, by the kind. No tenant can cause it. */
  readonly #forbidden = new Map<string, string>();
  failures = 0;
  refused = 0;

  constructor(options: OwnerResolverOptions) {
    this.#options = options;
    this.#counts = new FairCounts(options.maxTemplates ?? MAX_TEMPLATES_KEPT);
    this.#nowMs = options.nowMs ?? (() => performance.now());
    options.signal.addEventListener('abort', () => clearTimeout(this.#retry ?? undefined), { once: true });
  }

  get size(): number {
    return this.#known.size;
  }

  /** Why pods of a kind of controllers have no owner; empty: every kind may be read, as far as is known. */
  get refusal(): string {
    return this.#forbidden.values().next().value ?? '';
  }

  /** Confirmed controllers of a pod, lowest first; empty without confirmation. */
  chainOf(pod: Member): Owner[] {
    const template = templateOf(pod);
    const known = template && this.#known.get(template.key)?.known;
    if (!known || pod.owner === null || known.program !== pod.program) return [];
    return known.above === null ? [pod.owner] : [pod.owner, known.above];
  }

  /** A pod changed: reads the template of its controller unless it was read lately or is being read. */
  want(pod: Claim): void {
    this.#want(pod, REREAD_MS);
  }

  /** Reads old templates again. */
  refresh(): void {
    for (const pod of this.#options.inUse()) this.#want(pod, REFRESH_MS);
  }

  /** Guards of responses protect them from removal, but they have no modes of a workload. */
  claimedMembers(): ClaimedMembers {
    let pods = 0;
    const controllers = new Set<string>();
    for (const pod of this.#options.inUse()) {
      const template = templateOf(pod);
      const known = template && this.#known.get(template.key)?.known;
      if (!known || known.program === pod.program) continue;
      pods += 1;
      controllers.add(known.above?.uid ?? pod.owner?.uid ?? '');
    }
    return { pods, controllers: controllers.size };
  }

  #want(pod: Claim, oldMs: number): void {
    const template = templateOf(pod);
    if (template === null || pod.owner === null) return;
    const kept = this.#known.get(template.key);
    const isOld = kept?.known != null && !template.isRevision && this.#nowMs() - kept.askedMs >= oldMs;
    if (kept && !isOld) return;
    const queue = this.#queues.get(pod.namespace) ?? new Map<string, Wanted>();
    if (queue.has(template.key)) return;
    const { namespace, owner } = pod;
    if (!kept && !this.#hasRoom(namespace)) return;
    this.#queues.set(namespace, queue.set(template.key, { isKnown: kept !== undefined, namespace, owner, template }));
    this.#queued += 1;
    if (!kept) this.#counts.add(namespace);
    this.#pump();
  }

  #hasRoom(namespace: string): boolean {
    if (!this.#counts.hasRoom(namespace)) this.#prune();
    if (this.#counts.hasRoom(namespace)) return true;
    this.refused += 1;
    return false;
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
      // Marked before the request, so that it is sent once. A known template counts until it is read again.
      const { namespace, template, isKnown } = wanted;
      const kept = this.#known.get(template.key);
      // Dropped as unused meanwhile.
      if (isKnown && !kept) continue;
      const known = kept?.known ?? null;
      this.#known.set(template.key, { namespace, askedMs: this.#nowMs(), known });
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
      this.#forbidden.delete(kindOf(template));
      const known = object && knownFrom(object, owner, template);
      this.#retryMs = RETRY.firstMs;
      if (!known) {
        // Requested again with the next change of a pod that names it: a tenant can name a revision
        // before it exists.
        const wasKnown = this.#known.get(template.key)?.known != null;
        this.#forget(template.key);
        if (wasKnown) onResolved(owner.uid, namespace);
        return;
      }
      const before = this.#known.get(template.key);
      // It may have been dropped as unused meanwhile.
      if (!before) this.#counts.add(namespace);
      this.#known.set(template.key, { namespace, askedMs: before?.askedMs ?? this.#nowMs(), known });
      if (before?.known?.program !== known.program || before.known.above?.uid !== known.above?.uid)
        onResolved(owner.uid, namespace);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (signal.aborted) return;
      this.failures += 1;
      if (error.code === 'KUBE_FORBIDDEN') this.#forbidden.set(kindOf(template), error.message);
      // A rejected request stays rejected, because tenants choose the requested name.
      if (error.code === 'KUBE_INVALID') return;
      // What was known stays known until it is read again.
      if (this.#known.get(template.key)?.known === null) this.#forget(template.key);
      this.#retry ??= setTimeout(() => this.#again(), this.#retryMs).unref();
    }
  }

  #again(): void {
    this.#retry = null;
    // The pods of a kind may be gone: then nothing else ends its refusal.
    this.#forbidden.clear();
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
