/**
 * API server client of one task. It sends each request once, because the queue counts and repeats
 * attempts, and keeps the last change request for the record.
 */
import { getPod, getPodMetadata, type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { type PodFacts, podFactsOf, removalFactsOf } from '@bailiff/response';

/** The last change request to the API server. */
export interface ApiTrace {
  verb: string;
  path: string;
  /** HTTP status; 0 without a response. */
  status: number;
}

export interface ApiOptions {
  /** Per request. */
  timeoutMs: number;
  signal?: AbortSignal;
  beforeFirstChange?: () => void;
  /** Called after each change that the server has accepted. */
  afterChange?: () => Promise<void> | void;
}

export class Api implements KubeApi {
  /** null before the first change */
  trace: ApiTrace | null = null;
  readonly #kube: KubeApi;
  readonly #options: ApiOptions;

  constructor(kube: KubeApi, options: ApiOptions) {
    this.#kube = kube;
    this.#options = options;
  }

  /** @throws KubeError */
  async request<T = unknown>(options: RequestOptions): Promise<T> {
    const { timeoutMs, signal, beforeFirstChange, afterChange } = this.#options;
    const verb = options.verb ?? 'GET';
    const once = { ...options, attempts: 1, timeoutMs, ...(signal ? { signal } : {}) };
    if (verb === 'GET') return this.#kube.request<T>(once);
    const trace: ApiTrace = { verb, path: options.path, status: 0 };
    if (!this.trace) beforeFirstChange?.();
    this.trace = trace;
    try {
      const object = await this.#kube.request<T>(once);
      // The client returns no status; the API uses these for success.
      trace.status = verb === 'POST' ? 201 : 200;
      await afterChange?.();
      return object;
    } catch (error) {
      if (error instanceof KubeError) trace.status = error.status;
      throw error;
    }
  }

  watch(): Promise<void> {
    return Promise.reject(new Error('a task does not watch'));
  }
}

/**
 * Facts of a pod; null if it does not exist. A tenant can make a pod of 10 MiB: a caller that held
 * the object while it waits would keep it in memory.
 */
export async function readPod(api: KubeApi, pod: { namespace: string; name: string }): Promise<PodFacts | null> {
  const body = await getPod(api, pod);
  return body && podFactsOf(body);
}

/** Facts of a pod whose removal was requested: those of its metadata. null if it does not exist. */
export async function readRemoval(api: KubeApi, pod: { namespace: string; name: string }): Promise<PodFacts | null> {
  const body = await getPodMetadata(api, pod);
  return body && removalFactsOf(body);
}

/** Whether the error is a KubeError with this code. */
export function isKube(error: unknown, code: KubeError['code']): error is KubeError {
  return error instanceof KubeError && error.code === code;
}
