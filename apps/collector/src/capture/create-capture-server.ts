/** Creates the capture server from the parts of the collector, and connects it to the bus. */
import { readlinkSync } from 'node:fs';
import { type Bus, captureSubject, type RequestResponder, respondToRequests } from '@bailiff/bus';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import type { Metrics } from '../metrics.ts';
import { bootWallMicros } from '../process/boot.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import { CAPTURE_TURN_MS, CaptureServer } from './server.ts';

export interface CaptureParts {
  ctx: ServiceContext<CollectorConfig>;
  desired: DesiredState;
  metrics: Metrics;
  problems: ProblemLog;
}

export function createCaptureServer({ ctx, desired, metrics, problems }: CaptureParts): CaptureServer {
  return new CaptureServer({
    cgroupRoot: ctx.config.cgroupRoot,
    podOf: (uid) => desired.pods.get(uid),
    hostNetns: readlinkSync('/proc/self/ns/net'),
    nowMicros: () => ctx.clock.nowMs() * 1000,
    bootMicros: bootWallMicros,
    monotonicMs: () => performance.now(),
    onResponse: (outcome) => metrics.captures.inc({ outcome }),
    onError: (error) => problems.report('capture', '', error.message, error),
  });
}

/** Responds to the captures of this node until the returned object is closed. */
export function respondToCaptures(
  pushes: Bus,
  server: Pick<CaptureServer, 'respond' | 'busy'>,
  { ctx, problems }: Pick<CaptureParts, 'ctx' | 'problems'>,
): RequestResponder {
  return respondToRequests(pushes, {
    subject: captureSubject(ctx.config.nodeName),
    respond: (request) => server.respond(request),
    busy: () => server.busy(),
    maxWaitMs: CAPTURE_TURN_MS,
    monotonicMs: () => ctx.clock.monotonicMs(),
    onError: (error) => problems.report('capture', '', error.message, error),
  });
}
