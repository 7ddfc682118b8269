/**
 * Who owns the owners: a pod names its ReplicaSet, the ReplicaSet's metadata names the Deployment. Looked up once for each ReplicaSet
 * and Job (the reference never changes in ordinary life), metadata only, a few at a time; identities never wait for it.
 *
 * Bounded: `MAX_OWNERS_KEPT` answers, those of owners that no pod names any more are dropped first; above it nothing more is
 * looked up, which is counted.
 */
import { apiPath, getObject, type KubeApi, KubeError } from '@bailiff/kube';
import { controllerOf, type Owner } from './records.ts';

/** ReplicaSets in use in a cluster of 10,000 pods are some 3,000. */
export const MAX_OWNERS_KEPT = 20_000;
const CONCURRENCY = 4;
const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

const COLLECTIONS: Record<string, { group: string; plural: string }> = {
  ReplicaSet: { group: 'apps', plural: 'replicasets' },
  Job: { group: 'batch', plural: 'jobs' },
};

export interface OwnerResolverOptions {
  client: Pick<KubeApi, 'request'> & KubeApi;
  /** The answer for `uid` is there, and it has an owner: chains with it are longer now. */
  onResolved(uid: string): void;
  /** UIDs of owners that pods name. */
  inUse(): ReadonlySet<string>;
  signal: AbortSignal;
}

interface Wanted {
  owner: Owner;
  namespace: string;
}

export class OwnerResolver {
  #options: OwnerResolverOptions;
  /** null: it has none, or nobody may tell. */
  #known = new Map<string, Owner | null>();
  #queue = new Map<string, Wanted>();
  #running = 0;
  #idle: (() => void)[] = [];
  failures = 0;
  refused = 0;

  constructor(options: OwnerResolverOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#known.size;
  }
  /** Owner of an owner; undefined while it is not known. */
  lookup(uid: string): Owner | null | undefined {
    return this.#known.get(uid);
  }

  /** Asks for the owner of a pod's controller, unless that is known or has none. */
  want(owner: Owner | null, namespace: string): void {
    if (!owner || !(owner.kind in COLLECTIONS) || this.#known.has(owner.uid) || this.#queue.has(owner.uid)) return;
    if (this.#known.size + this.#queue.size >= MAX_OWNERS_KEPT && !this.#prune()) {
      this.refused += 1;
      return;
    }
    this.#queue.set(owner.uid, { owner, namespace });
    this.#pump();
  }

  /** Resolves when nothing is being looked up. */
  async whenIdle(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #pump(): void {
    while (this.#running < CONCURRENCY && this.#queue.size > 0) {
      const [uid, wanted] = this.#queue.entries().next().value as [string, Wanted];
      this.#queue.delete(uid);
      // Known as unknown while it is asked for, so that it is asked for once.
      this.#known.set(uid, null);
      this.#running += 1;
      void this.#resolve(wanted).finally(() => {
        this.#running -= 1;
        this.#pump();
        if (this.#running === 0) for (const wake of this.#idle.splice(0)) wake();
      });
    }
  }

  async #resolve({ owner, namespace }: Wanted): Promise<void> {
    const { group, plural } = COLLECTIONS[owner.kind] as { group: string; plural: string };
    const path = apiPath`/apis/${group}/v1/namespaces/${namespace}/${plural}/${owner.name}`;
    const { client, signal, onResolved } = this.#options;
    try {
      const object = await getObject(client, path, { signal, accept: METADATA });
      // Another object by that name says nothing of the one that the pod means.
      const above = object?.metadata.uid === owner.uid ? controllerOf(object.metadata.ownerReferences) : null;
      if (above === null) return;
      this.#known.set(owner.uid, above);
      onResolved(owner.uid);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (signal.aborted) return;
      this.failures += 1;
      // Asked again when the next pod names it, unless the answer is that we may not ask.
      if (error.code !== 'KUBE_FORBIDDEN') this.#known.delete(owner.uid);
    }
  }

  /** Drops answers that no pod needs; true when that made room. */
  #prune(): boolean {
    const inUse = this.#options.inUse();
    for (const uid of this.#known.keys()) if (!inUse.has(uid)) this.#known.delete(uid);
    return this.#known.size + this.#queue.size < MAX_OWNERS_KEPT;
  }
}
