/** The server of captures as the collector has it. */
import { readlinkSync } from 'node:fs';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import type { Metrics } from '../metrics.ts';
import { bootWallMicros } from '../process/boot.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import { CaptureServer } from './server.ts';

export interface CaptureParts {
  ctx: ServiceContext<CollectorConfig>;
  desired: DesiredState;
  metrics: Metrics;
  problems: ProblemLog;
}

export function makeCaptures({ ctx, desired, metrics, problems }: CaptureParts): CaptureServer {
  return new CaptureServer({
    cgroupRoot: ctx.config.cgroupRoot,
    podOf: (uid) => desired.pods.get(uid),
    hostNetns: readlinkSync('/proc/self/ns/net'),
    nowMicros: () => ctx.clock.nowMs() * 1000,
    bootMicros: bootWallMicros,
    monotonicMs: () => performance.now(),
    onAnswer: (outcome) => metrics.captures.inc({ outcome }),
    onError: (error) => problems.report('capture', '', error.message, error),
  });
}
