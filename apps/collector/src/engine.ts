/**
 * What the two halves of the collector are to `collector.ts`, which calls them in a loop:
 * packets/engine.ts guards interfaces, operations/engine.ts enforces runtime policies.
 *
 * An engine owns its programs, maps and counters. Both get the same parts, and neither knows the other.
 */
import type { DecodedBatch, SpoofObject } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from './config.ts';
import type { ApplyLatency } from './desired/apply-latency.ts';
import type { DesiredState, Moment } from './desired/desired-state.ts';
import type { Metrics } from './metrics.ts';
import type { ProblemLog } from './process/problem-log.ts';
import type { FlusherOptions } from './publishing/flusher.ts';
import type { FrameSink } from './publishing/frame.ts';

export interface Engine {
  /** Brings its programs into force and adopts the state of an earlier process. Needs no bus. */
  start(): void;
  /** Stores the samples of a batch with their counters, and publishes what is due of these. */
  takeSamples(batch: DecodedBatch): void;
  /** Reads counters, to find growth whose samples were lost. */
  sweep(): void;
  /** Brings the desired state into the kernel. */
  apply(): void;
  /** Compares all state with the kernel, because events can be lost. Reports what fails. */
  resync(): void;
  /** What it compares more often than in a resync. */
  readonly checks: readonly Check[];
  /** An operator detached the programs, or allowed them again. */
  detachChanged(): void;
  /** The pins were removed, and nothing else holds them: pins again what the process has. */
  repin(): void;
  /** Ends the inputs, so that no subject appears or changes afterwards. */
  closeInputs(): void;
  /** Publishes the last counts. Programs stay attached and pinned. */
  stop(timeoutMs: number): Promise<{ unacked: number }>;
  /** Call it when no acknowledgement can arrive any more. */
  close(): void;
}

/** A comparison with the node on a timer of its own. */
export interface Check {
  readonly everyMs: number;
  /** Part that a failure is reported for. */
  readonly part: string;
  run(): void;
}

/** Parts of the collector that both engines use. */
export interface EngineParts {
  ctx: ServiceContext<CollectorConfig>;
  bootId: string;
  object: SpoofObject;
  desired: DesiredState;
  metrics: Metrics;
  latency: ApplyLatency;
  problems: ProblemLog;
  sink: FrameSink;
  /** Knows why programs are not attached; empty: they are. */
  detach: { readonly reason: string; whyNotAttach(): string };
  /** Wall-clock microseconds now and at CLOCK_BOOTTIME 0, and monotonic milliseconds. */
  clock: { nowMicros(): number; nowMs(): number; bootWallMicros(): number };
  nextSequence(): number;
  moment(): Moment;
}

export const flusherOptions = (parts: EngineParts): Omit<FlusherOptions, 'onError'> => ({
  nodeName: parts.ctx.config.nodeName,
  bootId: parts.bootId,
  version: parts.ctx.version,
  sink: parts.sink,
  nextSequence: parts.nextSequence,
  clock: parts.clock,
  flushIntervalMs: parts.ctx.config.flushIntervalMs,
});
