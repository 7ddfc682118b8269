/**
 * Taints nodes without a guarding collector, if `unguardedNodes` of the cluster's spoof policy
 * allows it and this process leads. Input: status times in `bailiff_nodes` and node objects.
 * decide.ts selects the nodes.
 *
 * All state is in the node objects, so a new leader continues. Without a bus connection nothing
 * changes; after a reconnect every node gets the full time again. A write requires the node's
 * resourceVersion and changes only Bailiff's taint. Bounds: one pass per PASS_MS; status values are
 * read of tainted nodes only.
 */
import { type Bus, type BusStatus, decodeToken, encodeToken, type KvEntry, openBucket } from '@bailiff/bus';
import { type KubeApi, KubeError, mayAccess, replaceTaints } from '@bailiff/kube';
import type { UnguardedNodes } from '@bailiff/policy';
import { clipReason, interfaceStatus, LIST_LIMITS, nodeStatus, type TaintStatus } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import * as z from 'zod';
import { type AssessedNode, guardsPods, planTaints, type TaintPlan } from './decide.ts';
import { Heartbeats } from './heartbeats.ts';
import { hasLabels, isTainted, type NodeObject, taintsWith, takesPods } from './node-object.ts';

export const NODES_BUCKET = 'bailiff_nodes';
/** Half the interval of a node's status. */
const PASS_MS = 5_000;
/** Interval of checks for a missing permission. */
const RIGHT_CHECK_MS = 60_000;
/** The informer delivers the node's change or deletion soon. */
const HARMLESS: ReadonlySet<string> = new Set(['KUBE_CONFLICT', 'KUBE_NOT_FOUND', 'KUBE_ABORTED']);
/** Entries of each list in a status. */
const MAX_NAMED = 64;

/** Only the needed fields: a collector of another version may report others. */
const guardStatus = z.object({
  hook: nodeStatus.shape.hook,
  interfaces: z.array(interfaceStatus.pick({ coverage: true })).max(LIST_LIMITS.interfaces.items),
  interfacesOmitted: nodeStatus.shape.interfacesOmitted,
});

export interface TaintControllerOptions {
  client: KubeApi;
  bus: Bus;
  clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  setting(): UnguardedNodes;
  nodes(): readonly NodeObject[];
  isLeader(): boolean;
  /** A taint was added or removed. */
  onChanged(node: string, change: 'put' | 'removed'): void;
  /** `status` changed. */
  onStatus(): void;
  onKubeError(error: KubeError): void;
}

export class TaintController {
  readonly #o: TaintControllerOptions;
  readonly changes = { put: 0, removed: 0 };
  /** Reported status; null while not leading, or when off with no taint left. */
  status: TaintStatus | null = null;
  /** null until all nodes' status times are known. */
  #heartbeats: Heartbeats | null = null;
  /** null: not checked yet. */
  #mayPatch: boolean | null = null;
  #checkRightAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TaintControllerOptions) {
    this.#o = options;
  }

  /** Reconciles the taints until the term ends. @throws BusError */
  async serve(term: AbortSignal): Promise<void> {
    const { bus, clock } = this.#o;
    this.#mayPatch = null;
    try {
      while (!term.aborted) {
        if (bus.connected) await this.#whileConnected(term);
        else await clock.sleep(PASS_MS, term);
      }
    } finally {
      if (term.aborted) this.#setStatus(null);
    }
  }

  get #isOn(): boolean {
    return this.#o.setting().taint !== 'off';
  }

  /**
   * Runs until the connection breaks or the setting changes, which both invalidate the heartbeats.
   */
  async #whileConnected(term: AbortSignal): Promise<void> {
    const { bus } = this.#o;
    const stop = new AbortController();
    const signal = AbortSignal.any([term, stop.signal]);
    const onStatus = ({ type }: BusStatus) => {
      if (type === 'disconnected') stop.abort();
    };
    bus.statusListeners.add(onStatus);
    this.#heartbeats = null;
    const parts = this.#isOn ? [this.#passes(signal, true), this.#watch(signal)] : [this.#passes(signal, false)];
    await Promise.race(parts).catch(() => {});
    stop.abort();
    bus.statusListeners.delete(onStatus);
    for (const part of await Promise.allSettled(parts)) if (part.status === 'rejected') throw part.reason;
  }

  #watch(signal: AbortSignal): Promise<void> {
    const { bus, clock } = this.#o;
    return openBucket(bus, NODES_BUCKET).watch({
      signal,
      headersOnly: true,
      // Entries from before the watch are no heartbeat.
      onEntry: ({ key, deleted, injected }: KvEntry) => {
        if (!deleted && !injected) this.#heartbeats?.received(decodeToken(key), clock.monotonicMs());
      },
      onSynced: () => {
        this.#heartbeats = new Heartbeats(clock.monotonicMs());
      },
      onRecreated: () => {
        this.#heartbeats = null;
      },
    });
  }

  async #passes(signal: AbortSignal, wasOn: boolean): Promise<void> {
    while (!signal.aborted && this.#isOn === wasOn) {
      if (!wasOn || this.#heartbeats) await this.#pass(signal);
      await this.#o.clock.sleep(PASS_MS, signal);
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const setting = this.#o.setting();
    const objects = this.#o.nodes();
    const plan = planTaints(await this.#assess(objects, setting), setting);
    await this.#checkRight(plan, signal);
    const failures: string[] = [];
    const byName = new Map(objects.map((object) => [object.name, object]));
    for (const [names, effect] of [[plan.remove, null] as const, [plan.put, setting.taint] as const])
      for (const name of names) {
        const failure = await this.#change(byName.get(name) as NodeObject, effect, signal);
        if (failure !== '') failures.push(failure);
      }
    if (signal.aborted) return;
    const tainted = objects.filter(isTainted).map(({ name }) => name);
    if (!this.#isOn && tainted.length === 0) this.#setStatus(null);
    else this.#setStatus(statusOf(plan, tainted, this.#mayPatch !== false, failures));
  }

  async #assess(objects: readonly NodeObject[], { nodeLabels }: UnguardedNodes): Promise<AssessedNode[]> {
    const nowMs = this.#o.clock.monotonicMs();
    const heartbeats = this.#heartbeats;
    heartbeats?.observe(objects, nowMs);
    return Promise.all(
      objects.map(async (object): Promise<AssessedNode> => {
        const { name } = object;
        const tainted = isTainted(object);
        return {
          name,
          tainted,
          selected: hasLabels(object, nodeLabels),
          takesPods: takesPods(object),
          silentMs: heartbeats?.silentMs(name, nowMs) ?? 0,
          guards: tainted && heartbeats?.hasReported(name) === true && (await this.#guards(name)),
        };
      }),
    );
  }

  /** By the newest status of its collector. An unreadable status counts as not guarding. */
  async #guards(name: string): Promise<boolean> {
    const entry = await openBucket(this.#o.bus, NODES_BUCKET).newest(encodeToken(name));
    if (!entry || entry.deleted || entry.injected) return false;
    try {
      return guardsPods(guardStatus.parse(JSON.parse(entry.value.toString('utf8'))));
    } catch {
      return false;
    }
  }

  /** Checked in advance, so that a missing permission shows before it is needed. */
  async #checkRight(plan: TaintPlan, signal: AbortSignal): Promise<void> {
    const { client, clock, onKubeError } = this.#o;
    if (this.#mayPatch === true || (!this.#isOn && plan.remove.length === 0)) return;
    if (this.#mayPatch === false && clock.monotonicMs() < this.#checkRightAtMs) return;
    try {
      this.#mayPatch = await mayAccess(client, { verb: 'patch', resource: 'nodes' }, { signal });
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (!signal.aborted) onKubeError(error);
    }
    this.#checkRightAtMs = clock.monotonicMs() + RIGHT_CHECK_MS;
  }

  /** @returns the failure; empty on success or if the informer will deliver the change */
  async #change(node: NodeObject, effect: string | null, signal: AbortSignal): Promise<string> {
    const { client, isLeader, onChanged, onKubeError } = this.#o;
    if (signal.aborted || !isLeader() || this.#mayPatch === false) return '';
    const change = effect === null ? 'removed' : 'put';
    try {
      await replaceTaints(client, node, taintsWith(node, effect), { signal });
      this.changes[change] += 1;
      onChanged(node.name, change);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (HARMLESS.has(error.code)) return '';
      onKubeError(error);
      // The permission may have been revoked since the check.
      if (error.code === 'KUBE_FORBIDDEN') this.#mayPatch = false;
      return clipReason(`${node.name}: ${error.message}`);
    }
    return '';
  }

  #setStatus(status: TaintStatus | null): void {
    const isNew = JSON.stringify(status) !== JSON.stringify(this.status);
    this.status = status;
    if (isNew) this.#o.onStatus();
  }
}

/** The most severe problem with its remedy; empty without one. */
function problemOf({ withheld, unguarded, bound }: TaintPlan, mayPatch: boolean, failures: readonly string[]) {
  if (!mayPatch) {
    const problem = 'may not patch nodes, so it neither adds nor removes taints';
    return { problem, remedy: 'k8s/components/taint-unguarded grants it' };
  }
  if (withheld.length > 0) {
    const problem = `${unguarded} nodes are not guarded and at most ${bound} may be tainted, so no further node is: the bus or the feed may be broken`;
    return { problem, remedy: 'look for a common cause of the silent nodes; unguardedNodes.maxPercent is the limit' };
  }
  const [problem = ''] = failures;
  return { problem, remedy: problem === '' ? '' : 'the patch is retried' };
}

function statusOf(
  plan: TaintPlan,
  tainted: readonly string[],
  mayPatch: boolean,
  failures: readonly string[],
): TaintStatus {
  return {
    tainted: tainted.slice(0, MAX_NAMED),
    taintedCount: tainted.length,
    withheld: plan.withheld.slice(0, MAX_NAMED),
    withheldCount: plan.withheld.length,
    ...problemOf(plan, mayPatch, failures),
  };
}
