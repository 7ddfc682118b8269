/**
 * The output to the Kubernetes API: a Report of openreports.io for each namespace with verdicts.
 *
 * Events change the reports in memory (reports.ts), and a batch is delivered when the reports of its
 * namespaces are written. A report that the server refuses, such as by a quota of its namespace, delays
 * no other: it is written later with everything that happened meanwhile. After a restart the results are
 * read from SIEM again, and every report is written once, which repairs changed ones.
 */
import { filters } from '@bailiff/bus';
import {
  apiPath,
  isNamespaceGone,
  type KubeApi,
  KubeError,
  type KubeErrorCode,
  type KubeList,
  nullOn,
  type RequestOptions,
} from '@bailiff/kube';
import { CLASSES, factsOf } from '../outputs/facts.ts';
import {
  DeliveryError,
  type DeliveryErrorCode,
  type Output,
  type OutputEvent,
  type Rejection,
} from '../outputs/output.ts';
import { API_VERSION, REPORT_NAME, Reports } from './reports.ts';

/** How often results are ended, and their reports written. */
const TICK_MS = 15_000;
/** Reports that are written in a tick, so that new events wait only shortly. */
const MAX_TICK_WRITES = 50;
/** A report that the server refuses is written again after this long. */
const REFUSED_MS = 300_000;
/** Objects of a page of the list, and its bytes: others may store large reports of this name. */
const PAGE = 500;
const MAX_PAGE_BYTES = 16 * 1024 * 1024;
const LIST_TYPE = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

interface OpenReportsOptions {
  kube: KubeApi & { close(): void };
  keepMs: number;
  timeoutMs: number;
  nowMs(): number;
}

export class OpenReportsOutput implements Output {
  readonly name = 'openreports';
  readonly filterSubjects = [...CLASSES.verdicts, ...CLASSES.responses].map((className) =>
    filters.siem({ format: 'ocsf', className }),
  );
  /** Large, because a batch costs one request for each of its namespaces. */
  readonly limits = { maxEvents: 1_000, maxBytes: 4 * 1024 * 1024, lingerMs: 1_000 };
  readonly startAt = 'new';
  readonly restoreMs: number;
  readonly #o: OpenReportsOptions;
  readonly #reports: Reports;
  readonly #refusedMs = new Map<string, number>();
  #tickMs = 0;
  #isCompared = false;

  constructor(options: OpenReportsOptions) {
    this.#o = options;
    this.restoreMs = options.keepMs;
    this.#reports = new Reports(options.keepMs);
  }

  get unkept(): number {
    return this.#reports.unkept;
  }

  restore(event: OutputEvent): void {
    try {
      this.#take(event);
    } catch (error) {
      // It has a dead letter.
      if (!(error instanceof DeliveryError)) throw error;
    }
  }

  /** @throws DeliveryError; the signal's reason */
  async deliver(events: readonly OutputEvent[], signal: AbortSignal): Promise<Rejection | null> {
    const namespaces = events.map((event) => this.#take(event)).filter((namespace) => namespace !== null);
    const refused = new Map<string, DeliveryError>();
    for (const namespace of new Set(namespaces)) {
      const error = this.#isDue(namespace) ? await this.#write(namespace, signal) : null;
      if (error) refused.set(namespace, error);
    }
    const [first] = refused;
    if (!first) return null;
    const rejected = namespaces.filter((namespace) => refused.has(namespace)).length;
    return { rejected, message: `${first[1].message}; the report is written again later` };
  }

  /** Ends old results, and writes what changed without an event. @returns whether anything was written @throws as deliver */
  async tick(signal: AbortSignal): Promise<boolean> {
    const nowMs = this.#o.nowMs();
    // Also after the clock of the bus was ahead.
    if (Math.abs(nowMs - this.#tickMs) >= TICK_MS) {
      this.#reports.expire(nowMs);
      this.#tickMs = nowMs;
    }
    if (!this.#isCompared) await this.#deleteOthers(signal);
    const due = this.#reports.changed().filter((namespace) => this.#isDue(namespace));
    let refused: DeliveryError | null = null;
    for (const namespace of due.slice(0, MAX_TICK_WRITES)) refused = (await this.#write(namespace, signal)) ?? refused;
    if (refused) throw refused;
    return due.length > 0;
  }

  close(): void {
    this.#o.kube.close();
  }

  #take(event: OutputEvent): string | null {
    return this.#reports.take(factsOf(event), event.storedMicros / 1_000);
  }

  #isDue(namespace: string): boolean {
    const refusedMs = this.#refusedMs.get(namespace) ?? Number.NEGATIVE_INFINITY;
    return Math.abs(this.#o.nowMs() - refusedMs) >= REFUSED_MS;
  }

  /**
   * Writes the report of a namespace, or deletes it if it has no result. @returns why the server refuses
   * this report @throws DeliveryError
   */
  async #write(namespace: string, signal: AbortSignal): Promise<DeliveryError | null> {
    const body = this.#reports.report(namespace);
    try {
      if (body === null) await this.#delete(namespace, signal);
      else await this.#apply(namespace, body, signal);
    } catch (cause) {
      const error = deliveryErrorOf(cause);
      if (isNamespaceGone(cause)) this.#reports.forget(namespace);
      else if (error instanceof DeliveryError && error.code === 'OUTPUT_REFUSED') {
        this.#refusedMs.set(namespace, this.#o.nowMs());
        return error;
      } else throw error;
    }
    this.#reports.settled(namespace);
    this.#refusedMs.delete(namespace);
    return null;
  }

  /** A merge patch replaces lists as a whole. */
  async #apply(namespace: string, body: Record<string, unknown>, signal: AbortSignal): Promise<void> {
    const patch = this.#request({ verb: 'PATCH', path: reportPath(namespace), body, signal });
    if ((await nullOn('KUBE_NOT_FOUND', patch)) !== null) return;
    await this.#request({ verb: 'POST', path: reportsPath(namespace), body, signal });
  }

  async #delete(namespace: string, signal: AbortSignal): Promise<void> {
    await nullOn('KUBE_NOT_FOUND', this.#request({ verb: 'DELETE', path: reportPath(namespace), signal }));
  }

  /** Deletes reports of earlier runs whose results have ended since. */
  async #deleteOthers(signal: AbortSignal): Promise<void> {
    try {
      for (let next: string | undefined = ''; next !== undefined; ) {
        const page: KubeList = await this.#page(next, PAGE, signal);
        for (const { metadata } of page.items ?? []) await this.#deleteUnknown(metadata.namespace ?? '', signal);
        next = page.metadata.continue || undefined;
      }
    } catch (error) {
      throw deliveryErrorOf(error);
    }
    this.#isCompared = true;
  }

  /** A page that is too large is read with fewer objects. */
  async #page(next: string, limit: number, signal: AbortSignal): Promise<KubeList> {
    const page = this.#request<KubeList>({
      path: `/apis/${API_VERSION}/reports`,
      query: { fieldSelector: `metadata.name=${REPORT_NAME}`, limit, continue: next || undefined },
      accept: LIST_TYPE,
      maxBodyBytes: MAX_PAGE_BYTES,
      signal,
    });
    const read = await nullOn('KUBE_TOO_LARGE', page);
    if (read !== null) return read;
    if (limit === 1) throw new KubeError('KUBE_TOO_LARGE', 'a report is too large to be listed');
    return this.#page(next, Math.ceil(limit / 8), signal);
  }

  /** A report that the server keeps, such as by an admission policy of its namespace, delays no other. */
  async #deleteUnknown(namespace: string, signal: AbortSignal): Promise<void> {
    if (namespace === '' || this.#reports.has(namespace)) return;
    try {
      await this.#delete(namespace, signal);
    } catch (cause) {
      const error = deliveryErrorOf(cause);
      if (!(error instanceof DeliveryError && error.code === 'OUTPUT_REFUSED')) throw cause;
    }
  }

  /** One attempt: the engine retries. */
  #request<T>(options: RequestOptions): Promise<T> {
    return this.#o.kube.request<T>({ ...options, timeoutMs: this.#o.timeoutMs, attempts: 1 });
  }
}

const reportsPath = (namespace: string) => `/apis/${API_VERSION}${apiPath`/namespaces/${namespace}/reports`}`;
const reportPath = (namespace: string) => `${reportsPath(namespace)}/${REPORT_NAME}`;

/** What a failed request for a report means to the delivery engine. Pure. */
const CODES: Partial<Record<KubeErrorCode, DeliveryErrorCode>> = {
  KUBE_UNREACHABLE: 'OUTPUT_UNREACHABLE',
  KUBE_TIMEOUT: 'OUTPUT_TIMEOUT',
  KUBE_TOO_MANY_REQUESTS: 'OUTPUT_BUSY',
  KUBE_CONFIG: 'OUTPUT_MISCONFIGURED',
  KUBE_UNAUTHORIZED: 'OUTPUT_MISCONFIGURED',
  // A missing right, which holds for every namespace. What a quota or an admission policy refuses is invalid.
  KUBE_FORBIDDEN: 'OUTPUT_MISCONFIGURED',
  KUBE_NOT_FOUND: 'OUTPUT_MISCONFIGURED',
  KUBE_INVALID: 'OUTPUT_REFUSED',
  KUBE_TOO_LARGE: 'OUTPUT_REFUSED',
};

/**
 * The API server reports an admission webhook that does not respond as an error of its own. It is called for some
 * namespaces only, and must not delay the others. Names contain no blank.
 */
const OF_WEBHOOK = /failed calling webhook/;

export function deliveryErrorOf(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  const { code, message, retryAfterMs } = error;
  const failed: DeliveryErrorCode = OF_WEBHOOK.test(message) ? 'OUTPUT_REFUSED' : 'OUTPUT_FAILED';
  const found = CODES[code] ?? failed;
  const text =
    code === 'KUBE_NOT_FOUND'
      ? 'the cluster has no reports of openreports.io/v1alpha1: install its definition'
      : message;
  return new DeliveryError(found, text, { cause: error, retryAfterMs });
}
