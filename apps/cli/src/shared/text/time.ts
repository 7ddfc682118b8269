/** Formats times and durations. Pure: the current time is a parameter. All times are UTC. */
export { age } from '@bailiff/response';

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

/** A duration in its two largest units: `850 µs`, `12 ms`, `1.24 s`, `3m 20s`, `2h 5m`, `4d 3h`. */
export function span(ms: number): string {
  if (ms < 0) return `-${span(-ms)}`;
  if (ms < 1) return ms === 0 ? '0 ms' : `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(2))} s`;
  return longSpan(Math.floor(ms / 1000));
}

function longSpan(seconds: number): string {
  const two = (whole: number, unit: string, rest: number, smaller: string) =>
    rest === 0 ? `${whole}${unit}` : `${whole}${unit} ${rest}${smaller}`;
  if (seconds < 3600) return two(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  if (seconds * 1000 < DAY_MS) return two(Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'm');
  return two(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h');
}
