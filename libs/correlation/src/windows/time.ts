/**
 * Times of the fold. All are microseconds since 1970 as integers; none is read from a clock here.
 *
 * A violation has two times: when the node says it happened (`lastSeenAt`) and when the bus stored its frame. Windows slide on the
 * node's word as long as the bus bears it out; a node whose clock stepped, or a frame that lay somewhere, is taken at the bus's time.
 * So a node can bend a window by at most EVENT_TIME_BOUND_MICROS, whatever its clock does.
 */

const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;

/** How far the node's time may lie from the bus's to be believed: the way through the collector and a restart of the bus take less. */
export const EVENT_TIME_BOUND_MICROS = 5 * SECOND;

/** What other streams say (configuration, pods) is in force this long after the bus stored it: every replica has read it by then. */
export const SETTLE_MICROS = SECOND;

/**
 * Counters are remembered for at least this long and at most twice: fixed slots of this length, the current and the one before.
 * Long enough that a frame which the collector sends again after an outage is known; short because a start replays two slots.
 */
export const COUNTER_SLOT_MICROS = 30 * MINUTE;

/** A pod may still be named this long after it left its node's list: its last counters are read after it ended. */
export const FORMER_POD_MICROS = 10 * MINUTE;

/** A violation of a pod that no list names waits this long: the node knows a pod about 0.3 s before the API server does. */
export const POD_GRACE_MICROS = 10 * SECOND;

/** Idle windows and counters are let go of once in this much stream time. */
export const SWEEP_MICROS = MINUTE;

/** The time at which a violation counts. */
export function eventTimeMicros(serverMicros: number, lastSeenAtMicros: number): number {
  const age = serverMicros - lastSeenAtMicros;
  return age <= EVENT_TIME_BOUND_MICROS && age >= -EVENT_TIME_BOUND_MICROS ? lastSeenAtMicros : serverMicros;
}

/** `ownTimeMicros` of what has none. */
export const NOT_KNOWN = -1;

/**
 * When the first of what a violation tells happened, by its node's clock: of what was sampled the moment of the first sample, else when it was
 * read, by when it had happened. NOT_KNOWN where the node is not believed about the time, or tells of longer than a node that is heard would.
 * @param timeMicros at which it counts
 */
export function ownTimeMicros(
  timeMicros: number,
  { firstSeenAt, lastSeenAt }: { firstSeenAt: number; lastSeenAt: number },
): number {
  const length = lastSeenAt - firstSeenAt;
  return timeMicros === lastSeenAt && length >= 0 && length <= EVENT_TIME_BOUND_MICROS ? firstSeenAt : NOT_KNOWN;
}
