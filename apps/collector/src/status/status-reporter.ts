/**
 * Assembles the node's status from the parts of the collector at each report. status.ts builds it.
 */
import type { Probe, SpoofObject } from '@bailiff/bpf';
import { probeFeatures } from '@bailiff/bpf';
import { type CniStatus, clipReason, LIST_LIMITS, type NodeStatus } from '@bailiff/schemas';
import { FileStore, type ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { ConfigReceiver } from '../desired/config-receiver.ts';
import type { DesiredState, Moment } from '../desired/desired-state.ts';
import type { Readings } from '../metrics.ts';
import type { OperationEngine } from '../operations/engine.ts';
import type { PacketEngine } from '../packets/engine.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import type { BusLink } from '../publishing/bus-link.ts';
import { EndedPods, EndingPods } from './ended-pods.ts';
import { GoneQuarantines } from './gone-quarantines.ts';
import { lossesOf, readingsOf } from './readings.ts';
import { RecentCounts } from './recent-counts.ts';
import { countByState, nodeStatus, unjudgedCounts } from './status.ts';

/** Pods without an object that a status names; the next one names further ones. */
const MAX_UNLISTED = LIST_LIMITS.quarantined.items;

export interface StatusParts {
  ctx: ServiceContext<CollectorConfig>;
  bootId: string;
  problems: ProblemLog;
  object: SpoofObject;
  packets: Pick<PacketEngine, 'registry' | 'cniRecords' | 'cgroupPods' | 'recordsUnwatched'>;
  desired: DesiredState;
  receiver: Pick<ConfigReceiver, 'spoofRevision' | 'unconfirmed'>;
  operations: Pick<OperationEngine, 'status' | 'losses' | 'repaired'>;
  cni: { status(): CniStatus };
  bus: Pick<BusLink, 'counts' | 'totals' | 'putStatus'>;
  moment(): Moment;
}

/** @param errnoName why inotify is not available; empty: it is */
function inotifyProbe(errnoName: string): Probe {
  if (errnoName === '') return { feature: 'inotify', available: true, errnoName: null, hint: null };
  const hint =
    'other processes of its user (root) use up fs.inotify.max_user_instances or max_user_watches of the node: new CNI records are found by polling';
  return { feature: 'inotify', available: false, errnoName, hint };
}

/** A file of this size is written with each status. A full disk may still accept an empty one. */
const PROBE_BYTES = 512;

/** Whether the disk of the state directory accepts a file. */
class StateProbe {
  readonly #files: FileStore;
  #reason = '';

  constructor({ ctx, problems }: Pick<StatusParts, 'ctx' | 'problems'>) {
    const report = problems.of('state');
    this.#files = new FileStore(ctx.config.stateDir, (file, reason) => {
      this.#reason = reason;
      report(file, reason);
    });
  }

  /** Writes. */
  run(): void {
    this.#reason = '';
    this.#files.save('probe', ' '.repeat(PROBE_BYTES));
  }

  get result(): Probe {
    const available = this.#reason === '';
    const hint = 'a restart of the collector lacks what it cannot write: free space on the disk of its state directory';
    return {
      feature: 'state-files',
      available,
      errnoName: available ? null : this.#reason,
      hint: available ? null : hint,
    };
  }
}

/** What the kernel can run is of use only where something attaches it. */
function podEndFeature({ ctx, object }: Pick<StatusParts, 'ctx' | 'object'>): Probe {
  if (ctx.config.podEnds === 'on' || !object.podEnd.available) return object.podEnd;
  const hint =
    'a pod with CAP_NET_ADMIN can send frames past the guard by an ifb device: run bailiff-pod-ends on the node and set podEnds to on';
  return { ...object.podEnd, available: false, hint };
}

/** Without it, a quarantined pod still serves pods on the node's network at its probe ports. */
function probeSocketsFeature({ maps, offload }: SpoofObject): Probe {
  const available = maps.podsCgroup() !== 0n && offload.available;
  const hint =
    "probe ports of a quarantined pod stay open to pods on the host's network: boot the node with cgroup v2, or set cgroupRoot to the cgroup v2 tree of the kubelet";
  return { feature: 'probe-sockets', available, errnoName: null, hint: available ? null : hint };
}

/** Six re-reads of a document: a bus that is slow for a moment is not reported. */
const UNCONFIRMED_MS = 180_000;

function unconfirmedIn(receiver: StatusParts['receiver']): Partial<NodeStatus['bus']> {
  const { forMs = 0, reason = '' } = receiver.unconfirmed() ?? {};
  return forMs > UNCONFIRMED_MS ? { unconfirmedForMs: forMs, unconfirmedReason: clipReason(reason) } : {};
}

export class StatusReporter {
  readonly #parts: StatusParts;
  readonly #startedAtMs: number;
  readonly #probes: readonly Probe[];
  readonly #gone = new GoneQuarantines();
  readonly #ended = new EndedPods();
  readonly #ending = new EndingPods();
  readonly #recent = new RecentCounts();
  readonly #state: StateProbe;

  constructor(parts: StatusParts) {
    this.#parts = parts;
    this.#state = new StateProbe(parts);
    const { offload, redirected } = parts.object;
    this.#probes = [...probeFeatures(), offload, podEndFeature(parts), ...(redirected ? [redirected] : [])];
    this.#startedAtMs = parts.ctx.clock.nowMs();
  }

  /** Values for the metrics. */
  readings(): Readings {
    const { packets, operations, bus } = this.#parts;
    const losses = this.#losses();
    const repaired = operations.repaired();
    return readingsOf(this.#status(losses), {
      states: countByState(packets.registry),
      losses,
      repaired,
      totals: bus.totals,
    });
  }

  /** Cumulative. */
  #losses(): Record<string, number> {
    return lossesOf(this.#parts.object.maps.losses(), this.#parts.operations.losses());
  }

  /** Publishes the status. */
  report(): void {
    this.#state.run();
    this.#parts.bus.putStatus(this.#status(this.#losses()));
  }

  #podEnds(): Set<number> | null {
    const { ctx, object } = this.#parts;
    if (ctx.config.podEnds === 'off' || ctx.config.observeOnly || !object.podEnd.available) return null;
    const ends = object.attached().filter(({ direction }) => direction === 'pod-end');
    return new Set(ends.map(({ generation }) => generation));
  }

  /**
   * Pods with an interface or a cgroup here that the newest list lacks, also if that was rejected for it:
   * ipam-sync lists them again. Without a list, every pod would be one.
   */
  #unlistedPods(): string[] {
    const { desired, packets } = this.#parts;
    if (!desired.known.has('pods')) return [];
    const present = new Set(packets.cgroupPods);
    for (const { binding, orphaned } of packets.registry.allLive())
      if (binding && !orphaned) present.add(binding.podUid);
    return [...present].filter((podUid) => !desired.isInNewestList(podUid)).slice(0, MAX_UNLISTED);
  }

  /** Listed pods that have ended here, or do so. */
  #endedPods(): Set<string> {
    const { ctx, desired, packets } = this.#parts;
    const listed = [...desired.pods.keys()];
    const bound = new Set([...packets.registry.allLive()].map(({ binding }) => binding?.podUid ?? ''));
    return new Set([
      ...this.#ended.observe(listed, packets.cgroupPods),
      ...this.#ending.observe(listed, bound, ctx.clock.monotonicMs()),
    ]);
  }

  /** @param losses as #losses */
  #status(losses: Record<string, number>): NodeStatus {
    const { ctx, bootId, object, packets, operations, desired, receiver, cni, bus, moment } = this.#parts;
    const { registry } = packets;
    return nodeStatus({
      nodeName: ctx.config.nodeName,
      bootId,
      version: ctx.version,
      startedAtMs: this.#startedAtMs,
      hook: ctx.config.observeOnly ? 'none' : object.mode,
      probes: [
        ...this.#probes,
        inotifyProbe(packets.recordsUnwatched),
        probeSocketsFeature(object),
        this.#state.result,
      ],
      registry,
      podEnds: this.#podEnds(),
      redirected: object.redirected?.available ?? false,
      nowMs: performance.now(),
      cniRecords: packets.cniRecords(),
      desired,
      runtime: operations.status(),
      cni: cni.status(),
      quarantinesGone: this.#gone.observe(desired, registry, ctx.clock.monotonicMs()),
      unlistedPods: this.#unlistedPods(),
      endedPods: this.#endedPods(),
      maps: object.maps,
      moment: moment(),
      bus: { ...bus.counts, ...unconfirmedIn(receiver) },
      spoofRevision: receiver.spoofRevision,
      recent: this.#recent.observe({ ...losses, ...unjudgedCounts(registry) }, ctx.clock.monotonicMs()),
    });
  }
}
