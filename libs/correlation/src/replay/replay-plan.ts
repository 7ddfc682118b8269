/**
 * Where a starting correlator begins to read, and where it begins to publish. Pure.
 *
 * There is no state store. Verdicts depend on the stream of one warm-up, so a start reads one warm-up
 * before the first frame that it publishes for. Verdicts are published in stream order. So publishing
 * starts a margin before the frame that triggered the newest verdict, or at the beginning. If the
 * beginning of the stream is lost, the warm-up uses the rest, but new frames always produce verdicts.
 */
import type { RuleHistory } from '../engine/rule-history.ts';
import { COUNTER_SLOT_MICROS, EVENT_TIME_BOUND_MICROS, POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';

/** Covers verdicts in flight, and replicas that are not equally far. */
export const RECOVERY_MARGIN_MICROS = 10 * 60 * 1_000_000;

/** State of the streams at start. Times in microseconds. */
export interface StreamState {
  /** Of VIOLATIONS; 0 if it is empty. */
  firstSequence: number;
  firstMicros: number;
  lastMicros: number;
  /**
   * Server time of the frame that triggered the newest verdict; null without a verdict, or if the
   * frame is gone.
   */
  lastTriggerMicros: number | null;
}

export interface ReplayPlan {
  /** Read from the first frame stored at or after this; 0 = from the beginning. */
  readFromMicros: number;
  /** Publish the verdicts of frames stored at or after this. */
  publishFromMicros: number;
}

/** Length of the stream before a frame that its verdicts depend on. */
export function warmUpMicros(longest: { timespanMicros: number; cooldownMicros: number }): number {
  const bounds = 4 * EVENT_TIME_BOUND_MICROS + 2 * (POD_GRACE_MICROS + SETTLE_MICROS);
  return 2 * COUNTER_SLOT_MICROS + longest.timespanMicros + longest.cooldownMicros + bounds;
}

/** How long before a frame the stream affects the verdicts of a rule. */
export function warmUpOf(rules: RuleHistory, rule: string, atMicros: number): number {
  const own = rules.at(atMicros - SETTLE_MICROS).rules.find(({ name }) => name === rule);
  return warmUpMicros(own ?? rules.longestSince(atMicros));
}

export function planReplay(state: StreamState, warmUp: number): ReplayPlan {
  const { firstSequence, firstMicros, lastMicros, lastTriggerMicros } = state;
  const complete = firstSequence <= 1;
  const wanted = lastTriggerMicros === null ? 0 : Math.max(0, lastTriggerMicros - RECOVERY_MARGIN_MICROS);
  const warm = complete ? 0 : firstMicros + warmUp;
  const publishFromMicros = Math.min(lastMicros, Math.max(wanted, warm));
  const readFromMicros = Math.max(0, publishFromMicros - warmUp);
  return { readFromMicros: readFromMicros <= firstMicros ? 0 : readFromMicros, publishFromMicros };
}
