/**
 * Where a start begins to read and from where on it publishes. Pure.
 *
 * There is no state store. What the fold says at stream time t follows from the stream since t - warm-up: counters reach back two slots at most,
 * the windows of a cooldown epoch reach back over the longest timespan before it, the epoch itself over the longest cooldown, and
 * times are bent by their bounds. So a start reads from a warm-up before the first frame it publishes for, and says exactly what a
 * replica that never stopped says.
 * It publishes from a margin before the frame that set off the newest verdict on the bus: all that was set off before that was published,
 * because verdicts are sent in the order of the stream. No verdict at all: from the beginning. A stream whose beginning was lost is
 * warmed up from what is left, but what arrives from now on is judged in any case.
 */
import { COUNTER_SLOT_MICROS, EVENT_TIME_BOUND_MICROS, POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';

/** Verdicts may be in flight, and two replicas differ a little in how far they are. */
export const RECOVERY_MARGIN_MICROS = 10 * 60 * 1_000_000;

/** What the bus says at a start. Times in microseconds. */
export interface StreamState {
  /** Of VIOLATIONS; 0 and 0 when it never held anything. */
  firstSequence: number;
  firstMicros: number;
  lastMicros: number;
  /** Server time of the frame that set off the newest verdict; null when there is no verdict, or its frame is gone. */
  lastTriggerMicros: number | null;
}

export interface ReplayPlan {
  /** Read from the first frame stored at or after this; 0 = from the beginning. */
  readFromMicros: number;
  /** Publish what frames stored at or after this set off. */
  publishFromMicros: number;
}

/** How much of the stream before a frame decides what is said about it. */
export function warmUpMicros(longest: { timespanMicros: number; cooldownMicros: number }): number {
  const bounds = 4 * EVENT_TIME_BOUND_MICROS + 2 * (POD_GRACE_MICROS + SETTLE_MICROS);
  return 2 * COUNTER_SLOT_MICROS + longest.timespanMicros + longest.cooldownMicros + bounds;
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
