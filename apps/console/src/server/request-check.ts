/**
 * Which requests the console answers at all. Pure.
 *
 * - `Host` must be the console's own address: a name that an attacker points at 127.0.0.1 has another one.
 *   A page by another name of this machine is at the own address: its link is of an earlier run, or of another person.
 * - `Origin` and `Sec-Fetch-Site`, if a browser sends them, must be the page's own. A link that a person
 *   opens may come from anywhere, but gets only the empty page.
 */
import type { IncomingHttpHeaders } from 'node:http';

export type Refusal = 'host' | 'origin' | 'method';

export interface Asked {
  method: string;
  /** Whether data is asked for, or a session. */
  isApi: boolean;
  headers: IncomingHttpHeaders;
}

/** @param own such as `http://3f09c1d2a4b5e6f7.localhost:9470` @returns why the request is refused; null: it is not */
export function refusalOf({ method, isApi, headers }: Asked, own: string): Refusal | null {
  if (headers.host !== new URL(own).host) return 'host';
  const { origin } = headers;
  if (origin !== undefined && origin !== own) return 'origin';
  if (!isApi) return method === 'GET' || method === 'HEAD' ? null : 'method';
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') return 'origin';
  if (method === 'POST') return origin === undefined ? 'origin' : null;
  return method === 'GET' ? null : 'method';
}

/** @param own as in `refusalOf` @returns whether a refused page is one of an earlier run */
export function isOfOtherRun({ isApi, headers: { host = '' } }: Asked, own: string): boolean {
  const { hostname, port } = new URL(own);
  if (isApi || !hostname.endsWith('.localhost')) return false;
  const named = /^(?:127\.0\.0\.1|\[::1\]|(?:[\w-]+\.)?localhost)(?::(\d+))?$/.exec(host);
  return named !== null && (named[1] ?? '') === port;
}

/** The value of a cookie; empty without it. */
export function cookieIn(header: string | undefined, name: string): string {
  for (const part of (header ?? '').split(';')) {
    const at = part.indexOf('=');
    if (part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return '';
}
