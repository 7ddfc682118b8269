/**
 * Responds to capture requests of the responder; the bus allows no other identity to send them. The
 * number of captures is limited per pod (POD_INTERVAL_MS) and per node (MAX_A_MINUTE): a stolen
 * credential of the responder cannot keep a collector busy. A namespace gets a further one only
 * while more are left than it has had, so that verdicts about many of its pods leave some to others.
 */
import { readlinkSync } from 'node:fs';
import { type Bus, captureSubject, type RequestResponder, respondToRequests } from '@bailiff/bus';
import { type CaptureAnswer, type CaptureRefusal, captureRequest } from '@bailiff/schemas';
import { FairCounts, type ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { DesiredState } from '../desired/desired-state.ts';
import type { Metrics } from '../metrics.ts';
import { bootWallMicros } from '../process/boot.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import { type CaptureContext, capturePod } from './capture.ts';

const POD_INTERVAL_MS = 10_000;
export const MAX_A_MINUTE = 30;
const MINUTE_MS = 60_000;
/** Together with BUDGET_MS of the capture, it is shorter than the requester's timeout. */
export const CAPTURE_TURN_MS = 400;

export interface CaptureServerOptions extends CaptureContext {
  onResponse(outcome: 'taken' | CaptureRefusal): void;
  onError(error: Error): void;
}

export class CaptureServer {
  readonly #o: CaptureServerOptions;
  /** Captures of the last minute by pod, monotonic milliseconds; MAX_A_MINUTE at most. */
  readonly #taken = new Map<string, { atMs: number; namespace: string }>();

  constructor(options: CaptureServerOptions) {
    this.#o = options;
  }

  /** JSON in, JSON out. Never rejects. */
  async respond(request: Uint8Array): Promise<string> {
    const answer = await this.#capture(request).catch((error: Error): CaptureAnswer => {
      this.#o.onError(error);
      return { refused: 'unreadable', reason: error.message };
    });
    return this.#format(answer);
  }

  busy(): string {
    return this.#format({ refused: 'busy', reason: 'other captures are under way on this node' });
  }

  #format(answer: CaptureAnswer): string {
    this.#o.onResponse('capture' in answer ? 'taken' : answer.refused);
    return JSON.stringify(answer);
  }

  async #capture(bytes: Uint8Array): Promise<CaptureAnswer> {
    const request = captureRequest.safeParse(json(bytes));
    if (!request.success) return { refused: 'bad-request', reason: request.error.issues[0]?.message ?? 'no request' };
    const now = this.#o.monotonicMs();
    for (const [uid, { atMs }] of this.#taken) if (now - atMs >= MINUTE_MS) this.#taken.delete(uid);
    const { podUid } = request.data;
    const last = this.#taken.get(podUid)?.atMs;
    if (last !== undefined && now - last < POD_INTERVAL_MS)
      return { refused: 'too-soon', reason: `the pod was captured less than ${POD_INTERVAL_MS / 1000} s ago` };
    const namespace = this.#o.podOf(podUid)?.namespace ?? '';
    const others = new FairCounts(MAX_A_MINUTE);
    for (const [uid, one] of this.#taken) if (uid !== podUid) others.add(one.namespace);
    if (!others.hasRoom(namespace))
      return {
        refused: 'too-soon',
        reason: `${others.size} other pods of this node were captured within a minute, ${others.of(namespace)} of namespace ${namespace}: none of the ${MAX_A_MINUTE} is left for this namespace`,
      };
    this.#taken.delete(podUid);
    this.#taken.set(podUid, { atMs: now, namespace });
    return capturePod(request.data, this.#o);
  }
}

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    // The schema rejects null.
    return null;
  }
}

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
