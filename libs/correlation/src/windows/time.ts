/**
 * Times of correlation: integers in microseconds since 1970. No clock is read here.
 *
 * A violation has two times: `lastSeenAt` of the node, and the time at which the bus stored its
 * frame. Windows use node time within EVENT_TIME_BOUND_MICROS of bus time, and bus time otherwise.
 * A node can therefore shift a window by at most that bound, whatever its clock shows.
 */

const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;

/**
 * Maximum distance of trusted node time from bus time. The collector's delay and a bus restart are
 * shorter.
 */
export const EVENT_TIME_BOUND_MICROS = 5 * SECOND;

/**
 * Configuration and pod lists take effect this long after the bus stored them: every replica has
 * read them by then.
 */
export const SETTLE_MICROS = SECOND;

/**
 * Length of a slot of counter memory; the current slot and the one before it are kept. Long enough
 * to recognize a frame that the collector resends after an outage. Short, because a start replays
 * two slots.
 */
export const COUNTER_SLOT_MICROS = 30 * MINUTE;

/**
 * A node may report on a pod this long after the pod left its list: final counters are read late.
 */
export const FORMER_POD_MICROS = 10 * MINUTE;

/**
 * How long a violation waits for its pod to be listed. A node knows a pod about 0.3 s before the
 * API server lists it.
 */
export const POD_GRACE_MICROS = 10 * SECOND;

/** Interval, in stream time, at which idle windows and counters are removed. */
export const SWEEP_MICROS = MINUTE;

/** Number of the counter slot that contains the time. */
export const counterSlotOf = (micros: number): number => Math.floor(micros / COUNTER_SLOT_MICROS);

/** The time at which a violation counts. */
export function eventTimeMicros(serverMicros: number, lastSeenAtMicros: number): number {
  const age = serverMicros - lastSeenAtMicros;
  return age <= EVENT_TIME_BOUND_MICROS && age >= -EVENT_TIME_BOUND_MICROS ? lastSeenAtMicros : serverMicros;
}

/** Result of `nodeTimeMicros` if the time cannot be used. */
export const UNKNOWN_TIME = -1;

/**
 * Node time of the first event in a violation: of its first sample or, without samples, the time of
 * reading, which is an upper bound. UNKNOWN_TIME if node time is not trusted, or if the violation
 * covers a longer period than a connected node reports at once.
 * @param timeMicros at which the violation counts
 */
export function nodeTimeMicros(
  timeMicros: number,
  { firstSeenAt, lastSeenAt }: { firstSeenAt: number; lastSeenAt: number },
): number {
  const length = lastSeenAt - firstSeenAt;
  return timeMicros === lastSeenAt && length >= 0 && length <= EVENT_TIME_BOUND_MICROS ? firstSeenAt : UNKNOWN_TIME;
}
