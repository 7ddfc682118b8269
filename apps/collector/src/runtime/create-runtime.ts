/** The runtime half put together from the collector's parts. */
import path from 'node:path';
import { boottimeNs, type MetaTable } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { ChangeTimes } from '../desired/apply-latency.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import type { DocumentStore } from '../desired/document-cache.ts';
import type { Metrics } from '../metrics.ts';
import { bootWallMicros } from '../process/boot.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import type { BusLink } from '../publishing/bus-link.ts';
import { loadBeside } from './kernel/loader-process.ts';
import { type GateOptions, RuntimeGate } from './supervisor.ts';

export interface RuntimeParts extends Pick<GateOptions, 'nextSequence' | 'onRefused' | 'onStatus'> {
  ctx: ServiceContext<CollectorConfig>;
  bootId: string;
  desired: DesiredState;
  documents: DocumentStore;
  metrics: Metrics;
  times: ChangeTimes;
  problems: ProblemLog;
  /** Gives out generations that no process before had. */
  meta: Pick<MetaTable, 'allocateGeneration'>;
  /** It is made after this. */
  bus(): BusLink;
}

export function makeRuntime(parts: RuntimeParts): RuntimeGate {
  const { ctx, desired, metrics, times, problems, bus } = parts;
  const { config } = ctx;
  return new RuntimeGate({
    load: loadBeside,
    wanted: config.runtime === 'auto' && !config.observeOnly,
    pinDir: config.bpfDir,
    dir: path.join(config.stateDir, parts.bootId, 'runtime'),
    cgroupRoot: config.cgroupRoot,
    nodeName: config.nodeName,
    bootId: parts.bootId,
    version: ctx.version,
    documents: parts.documents,
    sink: {
      publish: (frame) => bus().publish(frame, 'lsm'),
      hasCapacity: () => bus().hasCapacity(),
      whenCapacity: () => bus().whenCapacity(),
    },
    nextSequence: parts.nextSequence,
    allocateGeneration: () => parts.meta.allocateGeneration(),
    clock: { nowMicros: () => ctx.clock.nowMs() * 1000, nowMs: () => performance.now(), bootWallMicros },
    flushIntervalMs: config.flushIntervalMs,
    pods: () => (desired.known.has('pods') ? desired.pods : null),
    auditUntilNs: (namespace) => desired.auditUntilNs(namespace, { wallMs: Date.now(), bootNs: boottimeNs() }),
    sampling: () => (desired.known.has('spoof') ? desired.clusterConfig.sampling : null),
    onBound: (seconds) => metrics.runtimeBindSeconds.observe(seconds),
    onApplied: (seconds, isWhole) => {
      metrics.runtimeApplySeconds.observe(seconds);
      if (isWhole) times.applied();
    },
    onProblem: (part, reason, error) => problems.report(part, 'runtime', reason, error),
    onRefused: parts.onRefused,
    onStatus: parts.onStatus,
  });
}
