/** Creates the runtime supervisor from the parts of the collector. */
import path from 'node:path';
import { boottimeNs, type MetaTable } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { ApplyLatency } from '../desired/apply-latency.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import type { DocumentCache } from '../desired/document-cache.ts';
import type { Metrics } from '../metrics.ts';
import { bootWallMicros } from '../process/boot.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import { RuntimeSupervisor, type SupervisorOptions } from './engine.ts';
import { runLoaderProcess } from './kernel/loader-process.ts';

export interface RuntimeParts extends Pick<SupervisorOptions, 'sink' | 'nextSequence' | 'onRefused' | 'onStatus'> {
  ctx: ServiceContext<CollectorConfig>;
  bootId: string;
  desired: DesiredState;
  documents: DocumentCache;
  metrics: Metrics;
  latency: ApplyLatency;
  problems: ProblemLog;
  meta: Pick<MetaTable, 'allocateGeneration'>;
}

export function createRuntime(parts: RuntimeParts): RuntimeSupervisor {
  const { ctx, desired, metrics, latency, problems } = parts;
  const { config } = ctx;
  return new RuntimeSupervisor({
    load: runLoaderProcess,
    enabled: config.runtime === 'auto' && !config.observeOnly,
    pinDir: config.bpfDir,
    dir: path.join(config.stateDir, parts.bootId, 'runtime'),
    cgroupRoot: config.cgroupRoot,
    nodeName: config.nodeName,
    bootId: parts.bootId,
    version: ctx.version,
    documents: parts.documents,
    sink: parts.sink,
    nextSequence: parts.nextSequence,
    allocateGeneration: () => parts.meta.allocateGeneration(),
    clock: { nowMicros: () => ctx.clock.nowMs() * 1000, nowMs: () => performance.now(), bootWallMicros },
    flushIntervalMs: config.flushIntervalMs,
    pods: () => (desired.known.has('pods') ? desired.pods : null),
    auditUntilNs: (namespace) => desired.auditUntilNs(namespace, { wallMs: Date.now(), bootNs: boottimeNs() }),
    sampling: () => (desired.known.has('spoof') ? desired.clusterConfig.sampling : null),
    onBound: (seconds) => metrics.runtimeBindSeconds.observe(seconds),
    onApplied: (seconds, isComplete) => {
      metrics.runtimeApplySeconds.observe(seconds);
      if (isComplete) latency.runtimeApplied();
    },
    onProblem: (part, reason, error) => problems.report(part, 'runtime', reason, error),
    onRefused: parts.onRefused,
    onStatus: parts.onStatus,
  });
}
