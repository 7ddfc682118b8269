/**
 * Taints the nodes that no collector guards, where the operator allows it (`unguardedNodes` of the cluster's spoof policy), while this process leads.
 *
 * Place in the path: `bailiff_nodes` (when each collector spoke), nodes of the API server → here → taints. Which, decide.ts says. Invariants: all
 * state is in the node objects, so a new leader goes on with what it finds; nothing is put or taken without a connection to the bus, and after a
 * break everybody has the whole time to be heard again; a taint is written on the condition that the node is still as it was seen, and only ours
 * changes. Bounds: a look every LOOK_MS; values are read of tainted nodes alone; of the others only when they were written.
 */
import { type Bus, type BusStatus, decodeToken, encodeToken, type KvEntry, openBucket } from '@bailiff/bus';
import { type KubeApi, KubeError, mayAccess, replaceTaints } from '@bailiff/kube';
import type { UnguardedNodes } from '@bailiff/policy';
import { interfaceStatus, LIST_LIMITS, nodeStatus, type TaintStatus } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import * as z from 'zod';
import { guardsPods, type JudgedNode, planTaints, type TaintPlan } from './decide.ts';
import { Silence } from './heartbeats.ts';
import { hasLabels, isTainted, type NodeObject, taintsWith, takesPods } from './node-object.ts';

const NODES_BUCKET = 'bailiff_nodes';
/** Half the interval of a node's status. */
const LOOK_MS = 5_000;
/** Between questions for a right that is missing. */
const ASK_AGAIN_MS = 60_000;
/** What a node says is told by the informer soon: it has changed, or is gone. */
const HARMLESS: ReadonlySet<string> = new Set(['KUBE_CONFLICT', 'KUBE_NOT_FOUND', 'KUBE_ABORTED']);
/** Names in one status, of each list. */
const MAX_NAMED = 64;

/** No more of a status than is asked of it: a collector of another version may tell the rest otherwise. */
const guardStatus = z.object({
  hook: nodeStatus.shape.hook,
  interfaces: z.array(interfaceStatus.pick({ coverage: true })).max(LIST_LIMITS.interfaces.items),
});

export interface TaintKeeperOptions {
  client: KubeApi;
  bus: Bus;
  clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  setting(): UnguardedNodes;
  nodes(): readonly NodeObject[];
  isLeader(): boolean;
  /** A taint was put, or taken away. */
  onChanged(node: string, change: 'put' | 'removed'): void;
  /** `status` is another than before. */
  onStatus(): void;
  onKubeError(error: KubeError): void;
}

export class TaintKeeper {
  readonly #o: TaintKeeperOptions;
  readonly changes = { put: 0, removed: 0 };
  /** What is told of it; null while it does not lead, or is off and has nothing to take away. */
  status: TaintStatus | null = null;
  /** null while it is not certain what all nodes say. */
  #silence: Silence | null = null;
  /** null: not asked. */
  #mayPatch: boolean | null = null;
  #askAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TaintKeeperOptions) {
    this.#o = options;
  }

  /** Keeps the taints until the term ends. @throws BusError */
  async serve(term: AbortSignal): Promise<void> {
    const { bus, clock } = this.#o;
    this.#mayPatch = null;
    try {
      while (!term.aborted) {
        if (bus.connected) await this.#whileConnected(term);
        else await clock.sleep(LOOK_MS, term);
      }
    } finally {
      if (term.aborted) this.#tell(null);
    }
  }

  get #isOn(): boolean {
    return this.#o.setting().taint !== 'off';
  }

  /** Until the connection breaks, or it is switched on or off: then what was heard so far says nothing any more. */
  async #whileConnected(term: AbortSignal): Promise<void> {
    const { bus } = this.#o;
    const stop = new AbortController();
    const signal = AbortSignal.any([term, stop.signal]);
    const onStatus = ({ type }: BusStatus) => {
      if (type === 'disconnected') stop.abort();
    };
    bus.statusListeners.add(onStatus);
    this.#silence = null;
    const parts = this.#isOn ? [this.#look(signal, true), this.#listen(signal)] : [this.#look(signal, false)];
    await Promise.race(parts).catch(() => {});
    stop.abort();
    bus.statusListeners.delete(onStatus);
    for (const part of await Promise.allSettled(parts)) if (part.status === 'rejected') throw part.reason;
  }

  #listen(signal: AbortSignal): Promise<void> {
    const { bus, clock } = this.#o;
    return openBucket(bus, NODES_BUCKET).watch({
      signal,
      headersOnly: true,
      // What stood there when it began to listen is no sign of life.
      onEntry: ({ key, deleted, injected }: KvEntry) => {
        if (!deleted && !injected) this.#silence?.heard(decodeToken(key), clock.monotonicMs());
      },
      onSynced: () => {
        this.#silence = new Silence(clock.monotonicMs());
      },
      onRecreated: () => {
        this.#silence = null;
      },
    });
  }

  async #look(signal: AbortSignal, wasOn: boolean): Promise<void> {
    while (!signal.aborted && this.#isOn === wasOn) {
      if (!wasOn || this.#silence) await this.#pass(signal);
      await this.#o.clock.sleep(LOOK_MS, signal);
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const setting = this.#o.setting();
    const objects = this.#o.nodes();
    const plan = planTaints(await this.#judged(objects, setting), setting);
    await this.#askRight(plan, signal);
    const failures: string[] = [];
    const byName = new Map(objects.map((object) => [object.name, object]));
    for (const [names, effect] of [[plan.remove, null] as const, [plan.put, setting.taint] as const])
      for (const name of names) {
        const failure = await this.#change(byName.get(name) as NodeObject, effect, signal);
        if (failure !== '') failures.push(failure);
      }
    if (signal.aborted) return;
    const tainted = objects.filter(isTainted).map(({ name }) => name);
    if (!this.#isOn && tainted.length === 0) this.#tell(null);
    else this.#tell(statusOf(plan, tainted, this.#mayPatch !== false, failures));
  }

  async #judged(objects: readonly NodeObject[], { nodeLabels }: UnguardedNodes): Promise<JudgedNode[]> {
    const nowMs = this.#o.clock.monotonicMs();
    const silence = this.#silence;
    silence?.see(objects, nowMs);
    return Promise.all(
      objects.map(async (object): Promise<JudgedNode> => {
        const { name } = object;
        const tainted = isTainted(object);
        return {
          name,
          tainted,
          selected: hasLabels(object, nodeLabels),
          takesPods: takesPods(object),
          silentMs: silence?.silentMs(name, nowMs) ?? 0,
          guards: tainted && silence?.hasSpoken(name) === true && (await this.#guards(name)),
        };
      }),
    );
  }

  /** By what its collector said last. What cannot be read is no word that it guards. */
  async #guards(name: string): Promise<boolean> {
    const entry = await openBucket(this.#o.bus, NODES_BUCKET).newest(encodeToken(name));
    if (!entry || entry.deleted || entry.injected) return false;
    try {
      return guardsPods(guardStatus.parse(JSON.parse(entry.value.toString('utf8'))));
    } catch {
      return false;
    }
  }

  /** Asked before it is needed, so that a right that was not granted shows while all is well. */
  async #askRight(plan: TaintPlan, signal: AbortSignal): Promise<void> {
    const { client, clock, onKubeError } = this.#o;
    if (this.#mayPatch === true || (!this.#isOn && plan.remove.length === 0)) return;
    if (this.#mayPatch === false && clock.monotonicMs() < this.#askAtMs) return;
    try {
      this.#mayPatch = await mayAccess(client, { verb: 'patch', resource: 'nodes' }, { signal });
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (!signal.aborted) onKubeError(error);
    }
    this.#askAtMs = clock.monotonicMs() + ASK_AGAIN_MS;
  }

  /** @returns why it failed; empty when it did not, or the informer will tell more */
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
      // The right may have been taken away since it was asked for.
      if (error.code === 'KUBE_FORBIDDEN') this.#mayPatch = false;
      return `${node.name}: ${error.message}`;
    }
    return '';
  }

  #tell(status: TaintStatus | null): void {
    const isNew = JSON.stringify(status) !== JSON.stringify(this.status);
    this.status = status;
    if (isNew) this.#o.onStatus();
  }
}

/** The heaviest problem, with what to do; empty when there is none. */
function problemOf({ withheld, unguarded, bound }: TaintPlan, mayPatch: boolean, failures: readonly string[]) {
  if (!mayPatch) {
    const problem = 'may not patch nodes, so no taint is put or taken away';
    return { problem, remedy: 'k8s/components/taint-unguarded grants it' };
  }
  if (withheld.length > 0) {
    const problem = `${unguarded} nodes are not guarded and at most ${bound} may be tainted, so no further one is: the bus or the feed may be what is broken`;
    return { problem, remedy: 'see what the silent nodes have in common; unguardedNodes.maxPercent is the bound' };
  }
  const [problem = ''] = failures;
  return { problem, remedy: problem === '' ? '' : 'it is tried again' };
}

/** Pure. */
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
