/**
 * The request log: counters for assertions and a hook that receives every request with its time.
 * Times are taken at the arrival of the request's head, before its body and before any fault, so
 * that tests can measure arrivals. Counters are bounded by the distinct (verb, resource, code).
 */
import type { RequestInfo } from './path.ts';

export interface RequestRecord {
  /** Arrival, milliseconds since the epoch with a fraction. */
  timeMs: number;
  /** Arrival to response; for a watch, to its start. */
  durationMs: number;
  /** '' without an accepted token. */
  user: string;
  /** Kubernetes' verb; 'get' for discovery and health. */
  verb: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  path: string;
  /** The Accept header; empty without one. */
  accept: string;
  /** HTTP status, or 0 if the connection was closed without a response. */
  status: number;
}

export interface CountFilter {
  verb?: string;
  resource?: string;
  code?: number;
}

export class RequestLog {
  #counts = new Map<string, number>();
  #listeners = new Set<(record: RequestRecord) => void>();

  add(record: RequestRecord): void {
    const resource = record.subresource === '' ? record.resource : `${record.resource}/${record.subresource}`;
    const key = `${record.verb} ${resource} ${record.status}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    for (const listener of [...this.#listeners]) listener(record);
  }

  /** Number of matching requests; `resource` is `pods`, `pods/eviction` and so on. */
  count(filter: CountFilter = {}): number {
    let total = 0;
    for (const [key, count] of this.#counts) {
      const [verb, resource, code] = key.split(' ');
      const matches =
        (filter.verb === undefined || filter.verb === verb) &&
        (filter.resource === undefined || filter.resource === resource) &&
        (filter.code === undefined || filter.code === Number(code));
      if (matches) total += count;
    }
    return total;
  }

  /** `verb resource code` → requests. */
  counts(): { [key: string]: number } {
    return Object.fromEntries(this.#counts);
  }

  reset(): void {
    this.#counts.clear();
  }

  /** Calls the listener for each request until the returned function is called. */
  listen(listener: (record: RequestRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Fields of a record that the request determines. */
export function describeRequest(info: RequestInfo | undefined, path: string) {
  if (info?.kind !== 'resource') return { verb: 'get', resource: '', subresource: '', namespace: '', name: '', path };
  const { verb, resource, subresource, namespace, name } = info;
  return { verb, resource, subresource, namespace, name, path };
}
