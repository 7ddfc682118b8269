/**
 * Requests to a Kubernetes API server: JSON, typed errors, bounded retries, and the raw watch for
 * the reflector.
 *
 * After a 401 the credentials are reloaded and the request is repeated once. Retried with backoff:
 * no connection, timeout, 429, 500, 503 and other 5xx. POST is not retried by default, because an
 * unanswered POST may have been executed.
 */
import type { Duplex } from 'node:stream';
import { type BackoffOptions, backoffMs, pause, retry } from '@bailiff/service/retry';
import {
  type CredentialSource,
  CredentialStore,
  type Credentials,
  type KubeSource,
  loadKubeConfig,
} from './credentials.ts';
import { errorOfStatus, KubeError } from './errors.ts';
import { type EventHead, headOf, LARGE_EVENT_BYTES } from './event-head.ts';
import { type Answer, type Exchange, exchange, stream } from './http.ts';
import { LineSplitter, MAX_LINE_BYTES } from './lines.ts';
import { type ForwardOptions, forwardPort } from './port-forward.ts';

export type Verb = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  verb?: Verb;
  /**
   * Path from the server root, such as `/api/v1/pods`, with names already encoded (see `apiPath`).
   */
  path: string;
  query?: Query;
  body?: unknown;
  /** Type of the body. Default of a PATCH: `application/merge-patch+json`. */
  contentType?: string;
  accept?: string;
  /** `text`: the body as it is. Default: JSON. */
  as?: 'text';
  /** Timeout of one attempt. Default 15 s. */
  timeoutMs?: number;
  /** A larger response is KUBE_TOO_LARGE. Default 128 MiB. */
  maxBodyBytes?: number;
  signal?: AbortSignal;
  /** Number of attempts. Default 4. */
  attempts?: number;
  /** Whether a request with an unknown result may be repeated. Default: true for all but POST. */
  idempotent?: boolean;
  /** False: return a 429 at once (an eviction refused by a disruption budget). */
  retryTooManyRequests?: boolean;
}

export interface WatchEvent {
  type: string;
  object: unknown;
}

export interface WatchOptions {
  path: string;
  query?: Query;
  accept?: string;
  signal?: AbortSignal;
  /** Timeout until the response headers. */
  timeoutMs?: number;
  /** Ends the watch with KUBE_INACTIVE after this long without data. */
  inactivityMs: number;
  onOpen?(): void;
  onEvent(event: WatchEvent): void;
  /** An event above LARGE_EVENT_BYTES. @returns whether it is handled; otherwise `onEvent` follows */
  onLarge?(head: EventHead): boolean;
}

/** Interface for the reflector, the leader elector and the calls; tests may implement it. */
export interface KubeApi {
  request<T = unknown>(options: RequestOptions): Promise<T>;
  /** Resolves when the server ends the watch; otherwise rejects with a KubeError. */
  watch(options: WatchOptions): Promise<void>;
}

export interface ClientStats {
  requests: number;
  retries: number;
  /** Number of errors by KubeError code. */
  errors: Map<string, number>;
  credentialReloads: number;
}

/** Values of the reflector in client-go. */
export const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 500, maxMs: 30_000 };

export interface ClientOptions {
  backoff?: BackoffOptions;
  random?: () => number;
  /** User-Agent, shown in audit logs of the server. */
  userAgent?: string;
}

const DEFAULT_TIMEOUT_MS = 15_000;
const DEFAULT_ATTEMPTS = 4;

export class KubeClient implements KubeApi {
  #store: CredentialSource;
  #backoff: BackoffOptions;
  #random: () => number;
  #userAgent: string;
  #counts = { requests: 0, retries: 0, errors: new Map<string, number>() };

  constructor(store: CredentialSource, options: ClientOptions = {}) {
    this.#store = store;
    this.#backoff = options.backoff ?? DEFAULT_BACKOFF;
    this.#random = options.random ?? Math.random;
    this.#userAgent = options.userAgent ?? 'bailiff';
  }

  get stats(): ClientStats {
    return { ...this.#counts, credentialReloads: this.#store.reloads };
  }

  /** @throws KubeError with the code of the last attempt */
  async request<T = unknown>(options: RequestOptions): Promise<T> {
    const verb = options.verb ?? 'GET';
    const attempts = options.attempts ?? DEFAULT_ATTEMPTS;
    const idempotent = options.idempotent ?? verb !== 'POST';
    return retry(() => this.#once(verb, options) as Promise<T>, {
      waitMs: async (error, failures) => {
        const last = failures >= attempts || !(error instanceof KubeError) || !mayRetry(error, idempotent, options);
        if (last || options.signal?.aborted) return null;
        this.#counts.retries += 1;
        await pause(backoffMs(failures, this.#backoff, this.#random(), error.retryAfterMs), options.signal);
        return 0; // an attempt after the abort has the error of an aborted request
      },
    });
  }

  async watch(options: WatchOptions): Promise<void> {
    const target = options.path + queryString({ ...options.query, watch: true });
    const what = `watch ${options.path}`;
    const skip = (line: Buffer) => {
      const head = headOf(line);
      return head !== null && options.onLarge?.(head) === true;
    };
    const onLine = (line: string) => options.onEvent(parse(line, what) as WatchEvent);
    const splitter = new LineSplitter(onLine, MAX_LINE_BYTES, { bytes: LARGE_EVENT_BYTES, skip });
    await this.#authenticated((credentials) =>
      stream(credentials, {
        ...this.#exchange('GET', target, options),
        timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        inactivityMs: options.inactivityMs,
        onOpen: () => options.onOpen?.(),
        onChunk: (chunk) => splitter.push(chunk),
        onRefused: (answer) => refusal(answer, what),
      }),
    );
    if (splitter.pendingBytes > 0) throw this.#count(new KubeError('KUBE_UNREACHABLE', `${what}: cut within an event`));
  }

  /** A stream to a port of a pod. Its owner destroys it. @throws KubeError; not retried */
  portForward({ namespace, pod, port, ...timing }: ForwardOptions): Promise<Duplex> {
    const path = apiPath`/api/v1/namespaces/${namespace}/pods/${pod}/portforward`;
    const what = `port-forward to port ${port} of pod ${namespace}/${pod}`;
    return this.#authenticated((credentials) =>
      forwardPort(
        { ...credentials, headers: { ...credentials.headers, 'user-agent': this.#userAgent } },
        path + queryString({ ports: port }),
        what,
        timing,
        (answer) => refusal(answer, what),
      ),
    );
  }

  /** Closes all connections. */
  close(): void {
    this.#store.close();
  }

  #once(verb: Verb, options: RequestOptions): Promise<unknown> {
    const target = options.path + queryString(options.query ?? {});
    const what = `${verb} ${options.path}`;
    const plan = this.#exchange(verb, target, options);
    return this.#authenticated(async (credentials) => {
      const answer = await exchange(credentials, plan);
      if (answer.status < 200 || answer.status > 299) throw refusal(answer, what);
      const text = answer.body.toString('utf8');
      return options.as === 'text' ? text : parse(text, what);
    });
  }

  /** Runs a request. After a 401 reloads the credentials and repeats it once. */
  async #authenticated<T>(run: (credentials: Credentials) => Promise<T>): Promise<T> {
    this.#counts.requests += 1;
    const credentials = await this.#store.get();
    try {
      return await run(credentials);
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 'KUBE_UNAUTHORIZED') throw this.#count(error);
      this.#count(error);
    }
    await this.#store.reload(credentials);
    const renewed = await this.#store.get();
    return run(renewed).catch((error) => {
      throw this.#count(error);
    });
  }

  #exchange(method: string, target: string, options: RequestOptions | WatchOptions): Exchange {
    const headers: Record<string, string> = {
      accept: options.accept ?? 'application/json',
      'user-agent': this.#userAgent,
    };
    let body: string | null = null;
    if ('body' in options && options.body !== undefined) {
      body = JSON.stringify(options.body);
      const fallback = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      headers['content-type'] = options.contentType ?? fallback;
      headers['content-length'] = String(Buffer.byteLength(body));
    }
    return {
      method,
      target,
      headers,
      body,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      maxBodyBytes: 'maxBodyBytes' in options ? options.maxBodyBytes : undefined,
      signal: options.signal,
    };
  }

  #count(error: unknown): unknown {
    if (error instanceof KubeError && error.code !== 'KUBE_ABORTED') {
      this.#counts.errors.set(error.code, (this.#counts.errors.get(error.code) ?? 0) + 1);
    }
    return error;
  }
}

/** A client, and clients of other people for the same server, with a token each instead of our own identity. */
interface SharedClient {
  client: KubeClient;
  withToken(token: string): KubeApi;
}

/** The caller closes `client`. @throws KubeError KUBE_CONFIG */
export function loadSharedKube(source: KubeSource & ClientOptions = {}): SharedClient {
  const store = new CredentialStore(() => loadKubeConfig(source));
  return {
    client: new KubeClient(store, source),
    withToken: (token) => new KubeClient(store.ofToken(token), source),
  };
}

/** Creates a client for the cluster of a kubeconfig. @throws KubeError KUBE_CONFIG */
export function loadKube(source: KubeSource & ClientOptions = {}): KubeClient {
  return loadSharedKube(source).client;
}

/**
 * Builds a path from literal parts and names. Names are encoded, so that they cannot change the
 * path.
 */
export function apiPath(parts: TemplateStringsArray, ...names: string[]): string {
  return parts.reduce((path, part, index) => path + encodeURIComponent(names[index - 1] ?? '') + part);
}

function mayRetry(error: KubeError, idempotent: boolean, options: RequestOptions): boolean {
  if (error.code === 'KUBE_TOO_MANY_REQUESTS') return options.retryTooManyRequests ?? true;
  return error.retryable && idempotent;
}

function refusal(answer: Answer, what: string): KubeError {
  let body: unknown = null;
  try {
    body = JSON.parse(answer.body.toString('utf8'));
  } catch {
    // For example an HTML page of a proxy: the status is sufficient.
  }
  const retryAfter = answer.headers['retry-after'];
  return errorOfStatus(answer.status, body, what, retryAfter);
}

function parse(text: string, what: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch (cause) {
    throw new KubeError('KUBE_PROTOCOL', `${what}: the response is not JSON`, {}, { cause });
  }
}

function queryString(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`],
  );
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}
