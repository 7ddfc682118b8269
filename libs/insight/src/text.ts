/** Formats times. Pure: the current time is a parameter. All times are UTC. */

export const DAY_MS = 86_400_000;

/**
 * `12:03:04.123` on the current day, `11-02 12:03:04` in the current year, otherwise with the year.
 */
export function clockTime(micros: number, nowMs: number): string {
  if (!Number.isFinite(micros) || micros <= 0 || micros > 8.64e18) return '-';
  const iso = new Date(micros / 1000).toISOString();
  const today = new Date(nowMs).toISOString();
  if (iso.slice(0, 10) === today.slice(0, 10)) return iso.slice(11, 23);
  if (iso.slice(0, 4) === today.slice(0, 4)) return `${iso.slice(5, 10)} ${iso.slice(11, 19)}`;
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

/** RFC 3339 with microseconds, for JSON. */
export function isoMicros(micros: number): string {
  if (!Number.isFinite(micros) || Math.abs(micros) > 8.64e18) return '';
  const seconds = Math.floor(micros / 1e6);
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(micros - seconds * 1e6).padStart(6, '0')}Z`;
}
