/** Puts the node's status together from who holds its parts, whenever it is asked for. What it says is status.ts. */
import type { Probe, SpoofObject } from '@bailiff/bpf';
import { probeFeatures } from '@bailiff/bpf';
import type { NodeStatus } from '@bailiff/schemas';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { DesiredState, Moment } from '../desired/desired-state.ts';
import { lossesOf } from '../interfaces/interface-counts.ts';
import type { Registry } from '../interfaces/registry.ts';
import type { Readings } from '../metrics.ts';
import type { BusLink } from '../publishing/bus-link.ts';
import type { RuntimeGate } from '../runtime/supervisor.ts';
import { readingsOf } from './readings.ts';
import { countByState, nodeStatus } from './status.ts';

export interface StatusParts {
  ctx: ServiceContext<CollectorConfig>;
  bootId: string;
  object: SpoofObject;
  registry: Registry;
  desired: DesiredState;
  runtime: Pick<RuntimeGate, 'status' | 'losses'>;

  moment(): Moment;
  bus(): Pick<BusLink, 'counts' | 'spoofRevision' | 'tally'>;
}

export class StatusTeller {
  readonly #parts: StatusParts;
  readonly #startedAtMs: number;
  readonly #probes: readonly Probe[];

  constructor(parts: StatusParts) {
    this.#parts = parts;
    this.#probes = [...probeFeatures(), parts.object.offload];
    this.#startedAtMs = parts.ctx.clock.nowMs();
  }

  /** For the metrics. */
  readings(): Readings {
    const { object, registry, runtime, bus } = this.#parts;
    const losses = lossesOf(object.maps.losses(), runtime.losses());
    return readingsOf(this.status(), { states: countByState(registry), losses, tally: bus().tally });
  }

  status(): NodeStatus {
    const { ctx, bootId, object, registry, desired, runtime, moment, bus } = this.#parts;
    return nodeStatus({
      nodeName: ctx.config.nodeName,
      bootId,
      version: ctx.version,
      startedAtMs: this.#startedAtMs,
      hook: ctx.config.observeOnly ? 'none' : object.mode,
      probes: this.#probes,
      registry,
      desired,
      runtime: runtime.status(),
      maps: object.maps,
      moment: moment(),
      bus: bus().counts,
      spoofRevision: bus().spoofRevision,
    });
  }
}
