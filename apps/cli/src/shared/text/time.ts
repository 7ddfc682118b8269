/** Times and spans, read from arguments and written for a person. Pure: "now" is passed in. All times are UTC. */
import { MAX_DURATION_MS, parseDurationMs } from '@bailiff/policy';
import { CliError } from '../errors.ts';

export { age } from '@bailiff/response';

const ISO = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A moment named on the command line, in milliseconds: `10m` (ago), an ISO 8601 time (UTC when it names no zone), or `all`.
 * @throws CliError CLI_USAGE
 */
export function parseWhen(text: string, nowMs: number, flag: string): number {
  if (text === 'all') return 0;
  const spanMs = parseDurationMs(text);
  if (spanMs !== null) return Math.max(0, nowMs - spanMs);
  const ms = ISO.test(text)
    ? Date.parse(/T.*(Z|[+-]\d\d:\d\d)$/.test(text) || !text.includes('T') ? text : `${text}Z`)
    : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a time`, {
    remedy: 'write how long ago (90s, 10m, 2h, 7d), an ISO time (2026-11-03T12:00:00Z), or "all"',
  });
}

/** A length of time named on the command line, in milliseconds. @throws CliError CLI_USAGE */
export function parseSpan(text: string, flag: string, maxMs = MAX_DURATION_MS): number {
  const ms = parseDurationMs(text);
  if (ms !== null && ms > 0 && ms <= maxMs) return ms;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a duration${ms === null ? '' : ' that is allowed here'}`, {
    remedy: `write a number with its unit, such as 90s, 30m or 2h; at most ${maxMs === DAY_MS ? '24h' : span(maxMs)}`,
  });
}

const DAY_MS = 86_400_000;

/** `12:03:04.123` when it is of the same day as now, otherwise `11-02 12:03:04`; with the year when it is another one. */
export function clockTime(micros: number, nowMs: number): string {
  if (!Number.isFinite(micros) || micros <= 0 || micros > 8.64e18) return '-';
  const iso = new Date(micros / 1000).toISOString();
  const today = new Date(nowMs).toISOString();
  if (iso.slice(0, 10) === today.slice(0, 10)) return iso.slice(11, 23);
  if (iso.slice(0, 4) === today.slice(0, 4)) return `${iso.slice(5, 10)} ${iso.slice(11, 19)}`;
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

/** As in logs, for JSON: RFC 3339 with microseconds. */
export function isoMicros(micros: number): string {
  if (!Number.isFinite(micros) || Math.abs(micros) > 8.64e18) return '';
  const seconds = Math.floor(micros / 1e6);
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(micros - seconds * 1e6).padStart(6, '0')}Z`;
}

/** How long, in the two units that matter: `850 µs`, `12 ms`, `1.24 s`, `3m 20s`, `2h 5m`, `4d 3h`. */
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
