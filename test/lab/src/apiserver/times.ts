/** Times and durations as the API server and kubectl print them. Pure. */

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const yearMs = 365 * dayMs;

function pair(ms: number, big: number, bigName: string, small: number, smallName: string): string {
  const rest = Math.floor((ms % big) / small);
  return rest === 0 ? `${Math.floor(ms / big)}${bigName}` : `${Math.floor(ms / big)}${bigName}${rest}${smallName}`;
}

/** As apimachinery's HumanDuration: milliseconds → `9s`, `5m3s`, `3h`, `2d1h`, `3y`. */
export function humanDuration(ms: number): string {
  if (ms < -secondMs) return '<invalid>';
  if (ms < 0) return '0s';
  if (ms < 2 * minuteMs) return `${Math.floor(ms / secondMs)}s`;
  if (ms < 10 * minuteMs) return pair(ms, minuteMs, 'm', secondMs, 's');
  if (ms < 3 * hourMs) return `${Math.floor(ms / minuteMs)}m`;
  if (ms < 8 * hourMs) return pair(ms, hourMs, 'h', minuteMs, 'm');
  if (ms < 2 * dayMs) return `${Math.floor(ms / hourMs)}h`;
  if (ms < 8 * dayMs) return pair(ms, dayMs, 'd', hourMs, 'h');
  if (ms < 2 * yearMs) return `${Math.floor(ms / dayMs)}d`;
  if (ms < 8 * yearMs) return pair(ms, yearMs, 'y', dayMs, 'd');
  return `${Math.floor(ms / yearMs)}y`;
}

/** Age of an RFC 3339 time; `<unknown>` where there is none. */
export function ageOf(time: unknown, nowMs: number): string {
  if (typeof time !== 'string' || time === '') return '<unknown>';
  return humanDuration(nowMs - Date.parse(time));
}

/** Milliseconds since the epoch → RFC 3339 in whole seconds. */
export function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
