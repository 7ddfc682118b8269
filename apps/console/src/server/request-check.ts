/**
 * Which requests the console answers at all. Pure.
 *
 * - `Host` must be the console's own address: a name that an attacker points at 127.0.0.1 has another one.
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

/** @param own `http://127.0.0.1:9470` @returns why the request is refused; null: it is not */
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

/** The value of a cookie; empty without it. */
export function cookieIn(header: string | undefined, name: string): string {
  for (const part of (header ?? '').split(';')) {
    const at = part.indexOf('=');
    if (part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return '';
}
