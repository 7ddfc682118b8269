/**
 * The API server as one task sees it: each request is sent once (the queue tries again, so that tries are counted in one place), and the
 * last change that was asked for is kept for the record. `afterChange` is called after every change the server has accepted.
 */
import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';

/** The last change that was asked of the API server. */
export interface ApiTrace {
  verb: string;
  path: string;
  /** HTTP status; 0 when no answer came. */
  status: number;
}

export interface ApiOptions {
  /** For one request. */
  timeoutMs: number;
  signal?: AbortSignal;
  beforeFirstChange?: () => void;
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
      const answer = await this.#kube.request<T>(once);
      // The client gives the object, not the status; these are what the API answers when it has done what was asked.
      trace.status = verb === 'POST' ? 201 : 200;
      await afterChange?.();
      return answer;
    } catch (error) {
      if (error instanceof KubeError) trace.status = error.status;
      throw error;
    }
  }

  watch(): Promise<void> {
    return Promise.reject(new Error('a task does not watch'));
  }
}

/** True when the error is a KubeError of this code. */
export function isKube(error: unknown, code: KubeError['code']): error is KubeError {
  return error instanceof KubeError && error.code === code;
}
