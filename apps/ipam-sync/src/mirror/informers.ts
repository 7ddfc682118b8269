/**
 * One informer per kind of custom resource. A kind that is not installed is reported once and
 * retried at intervals. The other kinds continue, and its keys stay as they are.
 */
import { type KubeApi, KubeError, Reflector } from '@bailiff/kube';
import { RESOURCE_KINDS, RESOURCE_PLURALS, type ResourceKind, resourcePath } from '@bailiff/policy';
import { pause } from '@bailiff/service';
import { type MirroredResource, mirroredResource } from './resource.ts';

export interface InformersOptions {
  client: KubeApi;
  pageLimit: number;
  inactivityMs: number;
  /** Interval between attempts for a kind that is not installed or not permitted. */
  retryMs: number;
  onChange(): void;
  /** A kind became unreadable with this error; null: it is readable again. */
  onAbsent(kind: ResourceKind, error: KubeError | null): void;
  onError(resource: string, error: KubeError): void;
}

/** Two replicas do not overload a restarted API server. */
const BACKOFF = { baseMs: 200, maxMs: 5_000 };
/** Not installed or not permitted: an early retry does not help. */
const ABSENT: ReadonlySet<string> = new Set(['KUBE_NOT_FOUND', 'KUBE_FORBIDDEN']);

export class ResourceInformers {
  readonly #options: InformersOptions;
  readonly #reflectors = new Map<ResourceKind, Reflector<MirroredResource>>();
  readonly #absent = new Map<ResourceKind, KubeError>();
  readonly #giveUp = new Map<ResourceKind, AbortController>();

  constructor(options: InformersOptions) {
    this.#options = options;
    for (const kind of RESOURCE_KINDS) this.#reflectors.set(kind, this.#reflector(kind));
  }

  /**
   * Kinds that were completely listed at least once, with the resourceVersion up to which they are
   * known.
   */
  get listedVersions(): Map<ResourceKind, string> {
    const listed = [...this.#reflectors].filter(([, reflector]) => reflector.synced);
    return new Map(listed.map(([kind, reflector]) => [kind, reflector.version]));
  }
  /** Resources of these kinds. */
  get resources(): MirroredResource[] {
    return [...this.listedVersions.keys()].flatMap((kind) => this.#reflectors.get(kind)?.values() ?? []);
  }

  /** Kinds that this process may not read, with the error. A kind that is not installed is none. */
  get forbidden(): [kind: ResourceKind, message: string][] {
    return [...this.#reflectors].flatMap(([kind, { refusal }]) => {
      const absent = this.#absent.get(kind);
      const message = absent?.code === 'KUBE_FORBIDDEN' ? absent.message : refusal;
      return message === '' ? [] : [[kind, message]];
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(RESOURCE_KINDS.map((kind) => this.#follow(kind, signal)));
  }

  #reflector(kind: ResourceKind): Reflector<MirroredResource> {
    const { client, pageLimit, inactivityMs, onChange } = this.#options;
    return new Reflector<MirroredResource>({
      client,
      pageLimit,
      inactivityMs,
      backoff: BACKOFF,
      path: resourcePath(kind),
      select: (object) => mirroredResource(kind, object),
      onAdd: onChange,
      onUpdate: onChange,
      onDelete: onChange,
      onSync: onChange,
      onError: (error) => this.#failed(kind, error),
    });
  }

  #failed(kind: ResourceKind, error: KubeError): void {
    if (ABSENT.has(error.code)) this.#giveUp.get(kind)?.abort();
    else this.#options.onError(RESOURCE_PLURALS[kind], error);
  }

  async #follow(kind: ResourceKind, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const there = await this.#isThere(kind, signal);
      if (there === 'yes') {
        const giveUp = new AbortController();
        this.#giveUp.set(kind, giveUp);
        const reflector = this.#reflectors.get(kind);
        await reflector?.run(AbortSignal.any([signal, giveUp.signal]));
        // It may list and not watch.
        if (reflector?.refusal) await pause(this.#options.retryMs, signal);
      } else await pause(there === 'absent' ? this.#options.retryMs : BACKOFF.maxMs, signal);
    }
  }

  async #isThere(kind: ResourceKind, signal: AbortSignal): Promise<'yes' | 'absent' | 'unknown'> {
    try {
      await this.#options.client.request({ path: resourcePath(kind), query: { limit: 1 }, signal });
      if (this.#absent.delete(kind)) this.#options.onAbsent(kind, null);
      return 'yes';
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (signal.aborted) return 'unknown';
      if (!ABSENT.has(error.code)) {
        this.#options.onError(RESOURCE_PLURALS[kind], error);
        return 'unknown';
      }
      if (!this.#absent.has(kind)) this.#options.onAbsent(kind, error);
      this.#absent.set(kind, error);
      return 'absent';
    }
  }
}
