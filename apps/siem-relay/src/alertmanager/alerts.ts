/**
 * The active alerts of an Alertmanager, and what is due to be sent. Pure.
 *
 * A verdict makes an alert active; a later one of the same labels extends it, and a response adds what
 * was done. An alert is sent again every `resendMs`, each time with an end in the near future, so that
 * it ends by itself if the relay does. It is resolved `resolveAfterMs` after its newest verdict, or
 * earlier if its pod is gone (LASTS). Bounds: MAX_ALERTS, of which a namespace has at most MAX_NAMESPACE_ALERTS; an
 * alert beyond them is sent once and not kept.
 */

import { createHash } from 'node:crypto';
import { clip } from '@bailiff/siem';
import { type Facts, filled, withoutMarkup } from '../outputs/facts.ts';

export const MAX_ALERTS = 5_000;
export const MAX_NAMESPACE_ALERTS = 1_000;
/**
 * An alert lives for this many intervals at least: after it was sent, and after its verdict if its pod is gone. By default
 * longer than Alertmanager waits before it notifies of it (`group_wait`, `group_interval`): of one that ended, it does not.
 */
const LASTS = 6;
/**
 * A server takes an end that is in its future for none, and keeps the one of before: its clock, or a server of the bus, may be
 * wrong by less than this.
 */
const CLOCKS_DIFFER_MS = 60_000;
/** Of an annotation. */
const MAX_TEXT = 1_024;

export interface Alert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  endsAt: string;
  generatorURL?: string;
}

export interface AlertsOptions {
  resendMs: number;
  resolveAfterMs: number;
  /** `{verdictId}` is replaced; empty for none. */
  generatorUrl: string;
}

interface Active {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  verdictId: string;
  startsMs: number;
  /** When it is resolved, if its pod still exists. */
  untilMs: number;
  /** The same, if its pod is gone. */
  goneMs: number;
  /** null: due now. */
  sentMs: number | null;
  isResolved: boolean;
  node: string;
  podUid: string;
}

const annotation = (text: string) => clip(withoutMarkup(text), MAX_TEXT);
export function labelsOf(facts: Facts): Record<string, string> {
  const { clusterName, clusterUid, namespace, pod, rule, level, node } = facts;
  return filled({
    alertname: 'BailiffVerdict',
    cluster: clusterName || clusterUid,
    namespace,
    pod,
    // A verdict about a node has no pod.
    node: pod === '' ? node : '',
    rule,
    level,
  });
}

export class ActiveAlerts {
  readonly #o: AlertsOptions;
  /** By labels. */
  readonly #active = new Map<string, Active>();
  /** Active alerts of each namespace: counting them for each verdict would delay every output. */
  readonly #ofNamespace = new Map<string, number>();
  /** Alerts that were sent once and not kept. */
  unkept = 0;

  constructor(options: AlertsOptions) {
    this.#o = options;
  }

  get size(): number {
    return this.#active.size;
  }

  /**
   * Takes a verdict. @param storedMs after a restart: it was sent when SIEM had stored it
   * @returns the key of the alert; the alert itself if it is not kept
   */
  verdict(facts: Facts, nowMs: number, storedMs: number | null = null): string | Alert {
    const labels = labelsOf(facts);
    const key = JSON.stringify(labels);
    const known = this.#active.get(key);
    const alert: Active = {
      labels,
      annotations: {
        ...known?.annotations,
        ...filled({ summary: annotation(facts.title), description: annotation(facts.summary) }),
      },
      verdictId: facts.verdictId,
      startsMs: known?.startsMs ?? facts.timeMs,
      untilMs: (storedMs ?? nowMs) + this.#o.resolveAfterMs,
      goneMs: (storedMs ?? nowMs) + LASTS * this.#o.resendMs,
      sentMs: storedMs === null ? null : nowMs,
      isResolved: false,
      node: facts.node,
      podUid: facts.podUid,
    };
    if (!known && !this.#hasRoom(facts.namespace)) return this.#alertOf(alert, nowMs);
    if (!known) this.#count(facts.namespace, 1);
    this.#active.set(key, alert);
    return key;
  }

  /** The server refuses these for good. */
  forget(keys: readonly string[]): void {
    for (const key of keys) this.#end(key);
  }

  /** Alerts by key, whether they are due or not. */
  alerts(keys: readonly string[], nowMs: number): [key: string, alert: Alert][] {
    const unique = [...new Set(keys)];
    return unique.flatMap((key) => {
      const alert = this.#active.get(key);
      return alert ? [[key, this.#alertOf(alert, nowMs)] as [string, Alert]] : [];
    });
  }

  /** Adds what was done about a verdict. @returns keys of its alerts */
  response({ verdictId, summary }: Facts): string[] {
    const changed: string[] = [];
    for (const [key, alert] of this.#active) {
      if (alert.verdictId !== verdictId) continue;
      alert.annotations['response'] = annotation(summary);
      changed.push(key);
    }
    return changed;
  }

  /** Nodes with the pods of active alerts. */
  pods(): Map<string, Set<string>> {
    const nodes = new Map<string, Set<string>>();
    for (const { node, podUid, isResolved } of this.#active.values()) {
      if (podUid === '' || node === '' || isResolved) continue;
      nodes.set(node, (nodes.get(node) ?? new Set()).add(podUid));
    }
    return nodes;
  }

  /** The alerts of pods that are gone end earlier. */
  gone(podUids: ReadonlySet<string>): void {
    for (const alert of this.#active.values())
      if (podUids.has(alert.podUid)) alert.untilMs = Math.min(alert.untilMs, alert.goneMs);
  }

  /** Alerts to send now, at most `max`. */
  due(nowMs: number, max: number): [key: string, alert: Alert][] {
    const found: [string, Alert][] = [];
    for (const [key, alert] of this.#active) {
      if (found.length >= max) break;
      // By a clock that was ahead and is set back, it would be active, and not sent again, until that time.
      alert.untilMs = Math.min(alert.untilMs, nowMs + this.#o.resolveAfterMs);
      if (nowMs >= alert.untilMs) this.#resolve(alert);
      if (alert.sentMs === null || Math.abs(nowMs - alert.sentMs) >= this.#o.resendMs)
        found.push([key, this.#alertOf(alert, nowMs)]);
    }
    return found;
  }

  /** The server has accepted these; resolved ones end. */
  sent(keys: readonly string[], nowMs: number): void {
    for (const key of keys) {
      const alert = this.#active.get(key);
      if (alert?.isResolved) this.#end(key);
      else if (alert) alert.sentMs = nowMs;
    }
  }

  #resolve(alert: Active): void {
    if (alert.isResolved) return;
    alert.isResolved = true;
    alert.sentMs = null;
  }

  #hasRoom(namespace: string): boolean {
    return this.#active.size < MAX_ALERTS && (this.#ofNamespace.get(namespace) ?? 0) < MAX_NAMESPACE_ALERTS;
  }

  #end(key: string): void {
    const alert = this.#active.get(key);
    if (alert && this.#active.delete(key)) this.#count(alert.labels['namespace'] ?? '', -1);
  }

  #count(namespace: string, change: number): void {
    const count = (this.#ofNamespace.get(namespace) ?? 0) + change;
    if (count > 0) this.#ofNamespace.set(namespace, count);
    else this.#ofNamespace.delete(namespace);
  }

  #alertOf({ labels, annotations, startsMs, isResolved, verdictId }: Active, nowMs: number): Alert {
    const { generatorUrl, resendMs } = this.#o;
    const fromMs = Math.min(startsMs, nowMs);
    const toMs = isResolved ? Math.max(fromMs, nowMs - CLOCKS_DIFFER_MS) : nowMs + LASTS * resendMs;
    return {
      labels,
      annotations,
      startsAt: new Date(fromMs).toISOString(),
      endsAt: new Date(toMs).toISOString(),
      ...(generatorUrl === ''
        ? {}
        : { generatorURL: generatorUrl.replaceAll('{verdictId}', encodeURIComponent(verdictId)) }),
    };
  }
}

/** Longest name of an output. */
const MAX_NAME = 63;
const HASH_CHARACTERS = 8;

/**
 * The name of the output to an Alertmanager: label of metrics, and owner of a position.
 * The host of its URL; if that is too long, or the URL has a path, with a hash of the URL: servers
 * whose names differ only in their end need different positions.
 */
export function alertmanagerName(url: string): string {
  const server = url.replace(/\/+$/, '');
  const { host, pathname } = new URL(server);
  const name = `alertmanager-${host.replaceAll(/[^a-z0-9-]+/gi, '-').toLowerCase()}`;
  if (name.length <= MAX_NAME && pathname === '/') return name;
  const hash = createHash('sha256').update(server).digest('hex').slice(0, HASH_CHARACTERS);
  return `${name.slice(0, MAX_NAME - HASH_CHARACTERS - 1)}-${hash}`;
}
