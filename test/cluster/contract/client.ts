// A plain HTTPS client for the contract suite: JSON in, JSON out, watches as a list of events. It
// uses no Kubernetes library, because the suite tests the wire format. Every call has a deadline.

import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';

/** A call that takes longer has failed. */
const callTimeoutMs = 20_000;

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into freely.
export type Json = Record<string, any>;

export interface Access {
  url: string;
  /** PEM text; absent if the certificate is not checked. */
  ca?: string;
  token?: string;
  cert?: string;
  key?: string;
}

export interface Reply {
  status: number;
  headers: { [name: string]: string | undefined };
  body: Json;
  text: string;
}

export interface CallOptions {
  type?: string;
  accept?: string;
  token?: string | null;
  /** Closes the connection. */
  signal?: AbortSignal;
}

export interface WatchEvent {
  type: string;
  object: Json;
}

/** A running watch. */
export interface WatchReader {
  readonly status: number;
  readonly events: WatchEvent[];
  /** Resolves when the server has ended the stream. */
  ended: Promise<void>;
  close(): void;
}

export class ApiClient {
  readonly #access: Access;

  constructor(access: Access) {
    this.#access = access;
  }

  get(path: string, options?: CallOptions): Promise<Reply> {
    return this.call('GET', path, undefined, options);
  }

  post(path: string, body: unknown, options?: CallOptions): Promise<Reply> {
    return this.call('POST', path, body, options);
  }

  put(path: string, body: unknown, options?: CallOptions): Promise<Reply> {
    return this.call('PUT', path, body, options);
  }

  /** `type` is merge, json or strategic, or a media type. */
  patch(path: string, type: string, body: unknown): Promise<Reply> {
    const types: { [short: string]: string } = {
      merge: 'application/merge-patch+json',
      json: 'application/json-patch+json',
      strategic: 'application/strategic-merge-patch+json',
    };
    return this.call('PATCH', path, body, { type: types[type] ?? type });
  }

  delete(path: string, body?: unknown): Promise<Reply> {
    return this.call('DELETE', path, body);
  }

  async call(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<Reply> {
    const response = await this.#open(method, path, body, options);
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    const headers = response.headers as { [name: string]: string | undefined };
    return { status: response.statusCode ?? 0, headers, body: parse(text), text };
  }

  /** Opens a watch and collects its events. */
  async watch(path: string, options: CallOptions = {}): Promise<WatchReader> {
    const response = await this.#open('GET', path, undefined, options);
    const events: WatchEvent[] = [];
    let rest = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') events.push(JSON.parse(line) as WatchEvent);
    });
    const ended = new Promise<void>((resolve) => response.on('close', () => resolve()));
    return { status: response.statusCode ?? 0, events, ended, close: () => response.destroy() };
  }

  #open(method: string, path: string, body: unknown, options: CallOptions): Promise<IncomingMessage> {
    const { url, ca, cert, key } = this.#access;
    const token = options.token === undefined ? this.#access.token : options.token;
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const headers: { [name: string]: string | number } = { accept: options.accept ?? 'application/json' };
    if (token) headers['authorization'] = `Bearer ${token}`;
    if (text !== undefined) {
      headers['content-type'] = options.type ?? 'application/json';
      headers['content-length'] = Buffer.byteLength(text);
    }
    return new Promise((resolve, reject) => {
      const trust = ca === undefined ? { rejectUnauthorized: false } : { ca };
      const req = request(
        `${url}${path}`,
        { method, headers, ...trust, cert, key, agent: false, signal: options.signal },
        (response) => {
          req.setTimeout(0);
          resolve(response);
        },
      );
      req.setTimeout(callTimeoutMs, () =>
        req.destroy(new Error(`${method} ${path}: no answer in ${callTimeoutMs} ms`)),
      );
      req.on('error', reject);
      req.end(text);
    });
  }
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return {};
  }
}
