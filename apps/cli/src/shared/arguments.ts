/**
 * Parses arguments: pods, names, ids, numbers, times and durations. Pure.
 *
 * A pod is given as `name`, `namespace/name` or uid. A name alone selects every pod of that name,
 * in all namespaces.
 */
import type { PodSelector } from '@bailiff/insight';
import { DAY_MS } from '@bailiff/insight';
import { MAX_DURATION_MS, parseDurationMs } from '@bailiff/policy';
import { span } from '@bailiff/response';
import { InvalidArgumentError } from 'commander';
import { CliError } from './errors.ts';

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** @throws CliError CLI_USAGE */
export function parseName(text: string, flag: string): string {
  if (NAME.test(text) && text.length <= 253) return text;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a Kubernetes name`, {
    remedy: 'use lower-case letters, digits, "-" and "."',
  });
}

/** @throws CliError CLI_USAGE */
export function parsePod(text: string, flag: string, namespace?: string): PodSelector {
  const within = namespace === undefined ? null : parseName(namespace, '--namespace');
  if (UID.test(text)) return { text, namespace: within, name: null, uid: text };
  const [first = '', second, ...rest] = text.split('/');
  if (rest.length > 0) {
    throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a pod`, {
      remedy: 'use name, namespace/name, or a uid',
    });
  }
  if (second === undefined) return { text, namespace: within, name: parseName(first, flag), uid: null };
  if (within !== null && within !== first) {
    throw new CliError('CLI_USAGE', `${flag} ${text} and --namespace ${within} exclude each other`);
  }
  return { text, namespace: parseName(first, flag), name: parseName(second, flag), uid: null };
}

/** --pod, --namespace and --node. @throws CliError CLI_USAGE */
export function placeOf({ pod, namespace, node }: { pod?: string; namespace?: string; node?: string }) {
  return {
    pod: pod === undefined ? null : parsePod(pod, '--pod', namespace),
    namespace: namespace === undefined ? undefined : parseName(namespace, '--namespace'),
    node: node === undefined ? undefined : parseName(node, '--node'),
  };
}

/** One of a list. @throws CliError CLI_USAGE that names the list */
export function oneOf<T extends string>(text: string, allowed: readonly T[], flag: string): T {
  if ((allowed as readonly string[]).includes(text)) return text as T;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not one of ${allowed.join(', ')}`);
}

/** A whole number within bounds. @throws CliError CLI_USAGE */
export function wholeNumber(text: string, flag: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a whole number from ${min} to ${max}`);
}

const BYTES_OF: Readonly<Record<string, number>> = { '': 1, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };

/** A whole number of bytes, MiB, GiB or TiB; NaN for any other text. */
export function bytesIn(text: string): number {
  const [, digits, unit = ''] = /^(\d+) ?([MGT]iB)?$/.exec(text) ?? [];
  return digits === undefined ? Number.NaN : Number(digits) * (BYTES_OF[unit] ?? Number.NaN);
}

/** The first characters of a verdict or response id. @throws CliError CLI_USAGE */
export function parseIdPrefix(text: string, flag: string): string {
  if (/^[0-9a-f]{4,32}$/.test(text)) return text;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not an id`, {
    remedy: 'an id has 32 hexadecimal digits; the first four or more are enough',
  });
}

const ISO = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A time in milliseconds, when the time now is known: options are checked before the bus is connected,
 * and it is the bus's clock that counts.
 */
export type When = (nowMs: number) => number;

/** `10m` (ago), an ISO 8601 time (UTC without a zone), or `all` (0). @throws CliError CLI_USAGE */
export function parseWhen(text: string, flag: string): When {
  if (text === 'all') return () => 0;
  const spanMs = parseDurationMs(text);
  if (spanMs !== null) return (nowMs) => Math.max(0, nowMs - spanMs);
  const ms = ISO.test(text)
    ? Date.parse(/T.*(Z|[+-]\d\d:\d\d)$/.test(text) || !text.includes('T') ? text : `${text}Z`)
    : Number.NaN;
  if (!Number.isNaN(ms)) return () => ms;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a time`, {
    remedy: 'use a duration ago (90s, 10m, 2h, 7d), an ISO time (2026-11-03T12:00:00Z), or "all"',
  });
}

/** A range in microseconds. The whole millisecond of its end is included. @throws CliError CLI_USAGE */
export function parseRange(since: string, until: string | undefined) {
  const from = parseWhen(since, '--since');
  const to = until === undefined ? null : parseWhen(until, '--until');
  return (nowMs: number) => ({
    sinceMicros: from(nowMs) * 1000,
    untilMicros: to ? to(nowMs) * 1000 + 999 : Number.POSITIVE_INFINITY,
  });
}

/** A duration in milliseconds. @throws CliError CLI_USAGE */
export function parseSpan(text: string, flag: string, maxMs = MAX_DURATION_MS): number {
  const ms = parseDurationMs(text);
  if (ms !== null && ms > 0 && ms <= maxMs) return ms;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not ${ms === null ? 'a' : 'an allowed'} duration`, {
    remedy: `use a number with a unit, such as 90s, 30m or 2h; at most ${maxMs === DAY_MS ? '24h' : span(maxMs)}`,
  });
}

/** JetStream's supported replica counts. */
const REPLICAS = [1, 3, 5];

/** Value of `--replicas`. @throws InvalidArgumentError */
export function replicas(text: string): number {
  const number = Number(text);
  if (!REPLICAS.includes(number))
    throw new InvalidArgumentError('Use 1, 3 or 5: an even number tolerates no more failures than one less.');
  return number;
}
