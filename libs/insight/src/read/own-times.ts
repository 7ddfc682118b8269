/**
 * Times in a status of a node or service are those of its own clock. Converts them to the clock of the bus,
 * because readers compare them with bus time. Pure.
 */
import type { OwnClock } from '@bailiff/response';

/** Fields with a time of the writer's clock, in all statuses. Others have bus times. */
const OWN_TIMES: ReadonlySet<string> = new Set([
  ...['startedAt', 'stoppedAt', 'since', 'lostAt', 'endedAt', 'keptOutUntil'],
  ...['disarmedUntil', 'quarantinedUntil', 'problemAt', 'passedAt'],
]);
/** The last time that a Date can hold. */
const LAST_MS = 8.64e15;

function shifted(text: string, shiftMs: number): string {
  const atMs = Date.parse(text) + shiftMs;
  return Math.abs(atMs) <= LAST_MS ? new Date(atMs).toISOString() : text;
}

function shiftIn(value: unknown, shiftMs: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => shiftIn(one, shiftMs));
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name,
      typeof one === 'string' && OWN_TIMES.has(name) ? shifted(one, shiftMs) : shiftIn(one, shiftMs),
    ]),
  );
}

/** @param storedMs when the bus stored it, which is at once after `updatedAt` */
export function atBusTime<T extends { updatedAt: string }>(status: T, storedMs: number): T & OwnClock {
  const aheadMs = Date.parse(status.updatedAt) - storedMs;
  const updatedAt = new Date(storedMs).toISOString();
  if (Number.isNaN(aheadMs)) return { ...status, updatedAt };
  return { ...(shiftIn(status, -aheadMs) as T), updatedAt, clockAheadMs: Math.round(aheadMs) };
}
