/** Responses of the console: files, views as JSON, and streams of events. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { toJson } from '../json.ts';
import { SECURITY_HEADERS } from './page.ts';

/** Longest time until a client has read a response, which is in memory until then. */
export const UNREAD_MS = 120_000;

/** Ends a response. One that is not read closes its connection. */
export function finish(response: ServerResponse, body?: string): void {
  const timer = setTimeout(() => response.destroy(), UNREAD_MS);
  response.once('close', () => clearTimeout(timer));
  response.end(body);
}

export function send(response: ServerResponse, status: number, type: string, body: string): void {
  const length = Buffer.byteLength(body);
  response.writeHead(status, { ...SECURITY_HEADERS, 'content-type': type, 'content-length': length });
  finish(response, response.req.method === 'HEAD' ? undefined : body);
}

export function sendJson(response: ServerResponse, status: number, view: unknown): void {
  send(response, status, 'application/json; charset=utf-8', toJson(view));
}

/** The page is at another address. */
export function sendTo(response: ServerResponse, location: string): void {
  response.setHeader('location', location);
  send(response, 307, 'text/plain; charset=utf-8', '');
}

export function beginEvents(response: ServerResponse): void {
  response.writeHead(200, { ...SECURITY_HEADERS, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
}

/** No form of another site can send this type, even if a browser sent no Origin. */
export const isJson = ({ headers }: IncomingMessage): boolean =>
  /^application\/json\b/.test(headers['content-type'] ?? '');

/** Undefined: no JSON, which the schemas refuse. */
export function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A small text body; null: it is too large. */
export async function bodyOf(request: IncomingMessage, mostBytes: number): Promise<string | null> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) {
    body += chunk as string;
    if (body.length > mostBytes) return null;
  }
  return body;
}
