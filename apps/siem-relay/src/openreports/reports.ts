/**
 * Reports of OpenReports from verdicts and responses: one for each namespace, with a result for each
 * pod and rule. Pure.
 *
 * A later verdict of the same pod and rule replaces its result, and a response adds what was done. A
 * result ends `keepMs` after its newest verdict. Bounds: MAX_RESULTS of a namespace, of which the oldest
 * end first, and MAX_REPORTS namespaces, of which the least recently changed ends first.
 */
import { RecentMap } from '@bailiff/service';
import { clip } from '@bailiff/siem';
import { type Facts, filled, withoutMarkup } from '../outputs/facts.ts';

export const MAX_REPORTS = 1_000;
export const MAX_RESULTS = 100;
/** Characters: a report of the largest results stays far below the 1.5 MiB of an object. */
const MAX_TEXT = 512;

export const API_VERSION = 'openreports.io/v1alpha1';
/** Name of the report in each namespace. */
export const REPORT_NAME = 'bailiff';

const SEVERITIES: Readonly<Record<string, string>> = {
  critical: 'critical',
  high: 'high',
  medium: 'medium',
  low: 'low',
  informational: 'info',
};

interface Result {
  verdictId: string;
  storedMs: number;
  json: { properties: Record<string, string> } & Record<string, unknown>;
}

const shortText = (text: string) => clip(withoutMarkup(text), MAX_TEXT);
function resultOf(facts: Facts): Result['json'] {
  const { namespace, pod, podUid, rule, verdictId, node, level, timeMs, process, executable } = facts;
  const severity = SEVERITIES[level];
  return {
    policy: rule,
    result: 'fail',
    ...(severity === undefined ? {} : { severity }),
    message: shortText(facts.summary),
    timestamp: { seconds: Math.floor(timeMs / 1_000), nanos: 0 },
    resources: [{ apiVersion: 'v1', kind: 'Pod', namespace, name: pod, uid: podUid }],
    properties: filled({
      verdictId,
      node,
      cluster: facts.clusterName || facts.clusterUid,
      process: shortText(process),
      executable: shortText(executable),
    }),
  };
}

export class Reports {
  readonly #keepMs: number;
  /** Results of each namespace by pod and rule; both maps least recently changed first. */
  readonly #namespaces = new Map<string, RecentMap<string, Result>>();
  readonly #changed = new Set<string>();
  /** Results that ended because of a bound. */
  unkept = 0;

  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  has(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  /**
   * Takes a verdict or a response. @param storedMs when SIEM stored it
   * @returns the namespace whose report changed; null for a verdict without a pod, and for a response
   * to a verdict that has no result
   */
  take(facts: Facts, storedMs: number): string | null {
    const { namespace, pod } = facts;
    if (namespace === '' || pod === '') return null;
    if (facts.kind === 'verdict') this.#verdict(facts, storedMs);
    else if (!this.#response(facts)) return null;
    this.#changed.add(namespace);
    return namespace;
  }

  /** Ends results that are older than `keepMs`. */
  expire(nowMs: number): void {
    for (const [namespace, results] of this.#namespaces) {
      for (const [key, { storedMs }] of results) {
        if (nowMs - storedMs < this.#keepMs) continue;
        results.delete(key);
        this.#changed.add(namespace);
      }
      if (results.size === 0) this.#namespaces.delete(namespace);
    }
  }

  /** Namespaces whose report has to be written or deleted. */
  changed(): string[] {
    return [...this.#changed];
  }

  /** The report has been written or deleted. */
  settled(namespace: string): void {
    this.#changed.delete(namespace);
  }

  /** The namespace no longer exists. */
  forget(namespace: string): void {
    this.#namespaces.delete(namespace);
    this.#changed.delete(namespace);
  }

  /** Content of the report; null if it has no result. */
  report(namespace: string): Record<string, unknown> | null {
    const results = this.#namespaces.get(namespace);
    if (!results) return null;
    return {
      apiVersion: API_VERSION,
      kind: 'Report',
      metadata: { name: REPORT_NAME, labels: { 'app.kubernetes.io/managed-by': 'bailiff' } },
      source: 'bailiff',
      scope: { apiVersion: 'v1', kind: 'Namespace', name: namespace },
      configuration: { limits: { maxResults: MAX_RESULTS } },
      summary: { pass: 0, fail: results.size, warn: 0, error: 0, skip: 0 },
      results: Array.from(results.values(), ({ json }) => json),
    };
  }

  #verdict(facts: Facts, storedMs: number): void {
    const { namespace, pod, podUid, rule, verdictId } = facts;
    const results = this.#namespaces.get(namespace) ?? new RecentMap<string, Result>(MAX_RESULTS);
    const key = JSON.stringify([podUid || pod, rule]);
    if (!results.has(key) && results.size >= MAX_RESULTS) this.unkept += 1;
    results.set(key, { verdictId, storedMs, json: resultOf(facts) });
    this.#namespaces.delete(namespace);
    this.#namespaces.set(namespace, results);
    if (this.#namespaces.size > MAX_REPORTS) this.#endOldest();
  }

  #response({ namespace, verdictId, summary }: Facts): boolean {
    for (const result of this.#namespaces.get(namespace)?.values() ?? []) {
      if (result.verdictId !== verdictId) continue;
      result.json.properties['response'] = shortText(summary);
      return true;
    }
    return false;
  }

  #endOldest(): void {
    const [namespace, results] = this.#namespaces.entries().next().value as [string, Map<string, Result>];
    this.#namespaces.delete(namespace);
    this.#changed.add(namespace);
    this.unkept += results.size;
  }
}
