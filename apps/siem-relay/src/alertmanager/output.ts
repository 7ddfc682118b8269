/**
 * The output to one Alertmanager, by its API v2. Several servers have an output each, so that all get
 * each alert and one that is down delays only itself.
 */
import { type Bucket, encodeToken, filters, isName } from '@bailiff/bus';
import { decodeSnapshotValue, type NodeSnapshot, nodeSnapshot } from '@bailiff/schemas';
import type { RelayConfig } from '../config.ts';
import { CLASSES, type Facts, factsOf } from '../outputs/facts.ts';
import { HttpClient } from '../outputs/http-client.ts';
import { DeliveryError, type Output, type OutputEvent } from '../outputs/output.ts';
import { ActiveAlerts, type Alert, alertmanagerName } from './alerts.ts';

/** Alerts in a request. */
const MAX_BATCH = 64;
/** How often ended pods are looked up, and due alerts sent. */
const TICK_MS = 15_000;
/** Lists of nodes that are read in a tick; the others follow in the next. */
const MAX_NODE_READS = 256;

interface AlertmanagerOptions extends Omit<RelayConfig['alertmanager'], 'urls'> {
  url: string;
  /** Lists of the pods of each node. */
  pods: Bucket;
  nowMs(): number;
}

export class AlertmanagerOutput implements Output {
  readonly name: string;
  readonly filterSubjects = [...CLASSES.verdicts, ...CLASSES.responses].map((className) =>
    filters.siem({ format: 'ocsf', className }),
  );
  readonly limits = { maxEvents: MAX_BATCH, maxBytes: 1024 * 1024, lingerMs: 100 };
  readonly startAt = 'new';
  /** After a restart, alerts that may be active are read again. */
  readonly restoreMs: number;
  readonly #alerts: ActiveAlerts;
  readonly #o: AlertmanagerOptions;
  readonly #client: HttpClient;
  readonly #url: URL;
  #tickMs = 0;
  #nodesRead = 0;

  constructor(options: AlertmanagerOptions) {
    this.#o = options;
    this.#url = new URL(`${options.url.replace(/\/+$/, '')}/api/v2/alerts`);
    this.name = alertmanagerName(options.url);
    this.restoreMs = options.resolveAfterMs;
    this.#alerts = new ActiveAlerts(options);
    this.#client = new HttpClient({ ...options, allowPrivateAddress: true });
  }

  get unkept(): number {
    return this.#alerts.unkept;
  }

  restore(event: OutputEvent): void {
    try {
      const facts = factsOf(event);
      if (facts.kind === 'verdict') this.#alerts.verdict(facts, this.#o.nowMs(), event.storedMicros / 1000);
      else this.#alerts.response(facts);
    } catch (error) {
      // It has a dead letter.
      if (!(error instanceof DeliveryError)) throw error;
    }
  }

  /** @throws DeliveryError; the signal's reason */
  async deliver(events: readonly OutputEvent[], signal: AbortSignal): Promise<null> {
    const nowMs = this.#o.nowMs();
    const taken = events.map(factsOf).flatMap((facts) => this.#take(facts, nowMs));
    const keys = taken.filter((one) => typeof one === 'string');
    const once = taken.filter((one) => typeof one !== 'string');
    try {
      await this.#send(this.#alerts.alerts(keys, nowMs), once, nowMs, signal);
    } catch (error) {
      // Alone it becomes a dead letter, so it is not repeated.
      if (isRefusal(error) && events.length === 1) this.#alerts.forget(keys);
      throw error;
    }
    this.#alerts.unkept += once.length;
    return null;
  }

  /** Looks up ended pods, and sends what is due. @returns whether anything was sent @throws DeliveryError */
  async tick(signal: AbortSignal): Promise<boolean> {
    const nowMs = this.#o.nowMs();
    const sinceMs = Math.abs(nowMs - this.#tickMs);
    if (this.#alerts.size === 0 || sinceMs < Math.min(TICK_MS, this.#o.resendMs / 2)) return false;
    this.#tickMs = nowMs;
    const isSent = await this.#sendDue(signal);
    await this.#resolveGone();
    return (await this.#sendDue(signal)) || isSent;
  }

  close(): void {
    this.#client.close();
  }

  #take(facts: Facts, nowMs: number): (string | Alert)[] {
    return facts.kind === 'verdict' ? [this.#alerts.verdict(facts, nowMs)] : this.#alerts.response(facts);
  }

  async #sendDue(signal: AbortSignal): Promise<boolean> {
    const nowMs = this.#o.nowMs();
    for (let isFirst = true; ; isFirst = false) {
      const due = this.#alerts.due(nowMs, MAX_BATCH);
      if (due.length === 0) return !isFirst;
      try {
        await this.#send(due, [], nowMs, signal);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        await this.#sendEach(due, nowMs, signal);
      }
    }
  }

  /** Forgets those that the server refuses although it takes others, such as one with a dead letter from before a restart. */
  async #sendEach(due: readonly [key: string, alert: Alert][], nowMs: number, signal: AbortSignal): Promise<void> {
    const refused: string[] = [];
    let refusal: unknown;
    for (const one of due) {
      try {
        await this.#send([one], [], nowMs, signal);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refused.push(one[0]);
        refusal = error;
      }
    }
    if (refused.length === due.length) throw refusal;
    this.#alerts.forget(refused);
  }

  async #send(
    kept: readonly [key: string, alert: Alert][],
    once: readonly Alert[],
    nowMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const alerts = [...kept.map(([, alert]) => alert), ...once];
    if (alerts.length > 0) await this.#post(alerts, signal);
    this.#alerts.sent(
      kept.map(([key]) => key),
      nowMs,
    );
  }

  async #post(alerts: readonly Alert[], signal: AbortSignal): Promise<void> {
    const body = Buffer.from(JSON.stringify(alerts), 'utf8');
    await this.#client.post(this.#url, { 'content-type': 'application/json' }, body, signal);
  }

  /** A pod that the newest list of its node lacks is gone. */
  async #resolveGone(): Promise<void> {
    const nodes = [...this.#alerts.pods()];
    const from = nodes.length === 0 ? 0 : this.#nodesRead % nodes.length;
    const turn = [...nodes.slice(from), ...nodes.slice(0, from)].slice(0, MAX_NODE_READS);
    this.#nodesRead = from + turn.length;
    const gone = new Set<string>();
    for (const [node, uids] of turn) {
      const listed = await this.#listedOn(node);
      if (listed) for (const uid of uids) if (!listed.has(uid)) gone.add(uid);
    }
    this.#alerts.gone(gone);
  }

  /** Pods of a node; null if the list is not known or lacks some. */
  async #listedOn(node: string): Promise<Set<string> | null> {
    if (!isName(node)) return null;
    const entry = await this.#o.pods.newest(encodeToken(node));
    if (!entry || entry.injected) return null;
    if (entry.deleted) return new Set();
    const list = listOf(entry.value);
    return list && !list.omitted ? new Set(list.pods.map(({ uid }) => uid)) : null;
  }
}

const isRefusal = (error: unknown): boolean => error instanceof DeliveryError && error.code === 'OUTPUT_REFUSED';

/** null for a value of another program: the alerts of that node end by their time, those of others as before. */
function listOf(value: Uint8Array): NodeSnapshot | null {
  try {
    return nodeSnapshot.parse(JSON.parse(decodeSnapshotValue(value)));
  } catch {
    return null;
  }
}
