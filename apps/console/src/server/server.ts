/**
 * The HTTP server of the console, on a loopback address.
 *
 * Paths: the pages and their files for every local request; `POST /api/session` exchanges a one-time
 * token; the other `/api/` paths need a session (sessions.ts). Nothing here changes anything on the bus.
 *
 * Bounds: MAX_CONNECTIONS, MAX_STREAMS open event streams, MAX_READS readings at a time, and one reading
 * at most READ_MS. A slow page misses views, instead of having them queued.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ConsoleData } from '../data.ts';
import { toJson } from '../json.ts';
import type { Live } from '../live/live.ts';
import type { ErrorView } from '../wire.ts';
import { DOCUMENT, PAGES, type PageFiles, SECURITY_HEADERS, typeOf } from './page.ts';
import { cookieIn, type Refusal, refusalOf } from './request-check.ts';
import type { Sessions } from './sessions.ts';

export const HOST = '127.0.0.1';
const MAX_CONNECTIONS = 128;
/** Open pages. */
export const MAX_STREAMS = 16;
export const MAX_READS = 4;
const READ_MS = 120_000;
const MAX_BODY_BYTES = 1_024;
const MAX_HEADER_BYTES = 8_192;
const MAX_QUERY_LENGTH = 512;
/** A comment on an idle stream: the page notices a dead connection. */
const KEEP_ALIVE_MS = 10_000;

export interface ServerOptions {
  port: number;
  data: ConsoleData;
  live: Live;
  sessions: Sessions;
  page: PageFiles;
}

export interface ConsoleServer {
  /** `127.0.0.1:9470` */
  authority: string;
  close(): Promise<void>;
}

const REFUSALS: Readonly<Record<Refusal, [number, string]>> = {
  host: [421, 'this console answers only at the address that `bailiff console` printed'],
  origin: [403, 'this request is from another page'],
  method: [405, 'this method is not allowed'],
};
const NO_SESSION: ErrorView = {
  error: 'no session: the link was used, or the console was started again',
  remedy: 'run `bailiff console` and open the link that it prints',
};

class Server {
  readonly #options: ServerOptions;
  authority = '';
  #streams = 0;
  #reads = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = splitUrl(request.url ?? '');
    const isApi = path.startsWith('/api/');
    const { method = '', headers } = request;
    const refusal = refusalOf({ method, isApi, headers }, this.authority);
    if (refusal) {
      const [status, error] = REFUSALS[refusal];
      return sendJson(response, status, { error, remedy: '' });
    }
    if (!isApi) return this.#file(path, response);
    if (path === '/api/session') return this.#openSession(request, response);
    if (method !== 'GET') return sendJson(response, 405, { error: REFUSALS.method[1], remedy: '' });
    if (!this.#hasSession(request)) return sendJson(response, 401, NO_SESSION);
    if (query.length > MAX_QUERY_LENGTH) return sendJson(response, 414, { error: 'the query is too long', remedy: '' });
    if (path === '/api/now') return this.#stream(response);
    await this.#read(path, new URLSearchParams(query), response);
  }

  get #cookieName(): string {
    // Cookies do not distinguish ports: two consoles of a machine need two names.
    return `bailiff_console_${this.authority.split(':')[1]}`;
  }

  #hasSession({ headers }: IncomingMessage): boolean {
    const key = headers['x-bailiff-key'];
    return this.#options.sessions.isOpen(
      cookieIn(headers.cookie, this.#cookieName),
      typeof key === 'string' ? key : '',
    );
  }

  #file(path: string, response: ServerResponse): void {
    const name = PAGES.includes(path) ? DOCUMENT : path;
    const { page } = this.#options;
    const content = Object.hasOwn(page, name) ? page[name] : undefined;
    if (content === undefined) send(response, 404, 'text/plain; charset=utf-8', 'not found\n');
    else send(response, 200, typeOf(name), content);
  }

  async #openSession(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') return sendJson(response, 405, { error: REFUSALS.method[1], remedy: '' });
    const token = await bodyOf(request);
    const opened = token === null ? null : this.#options.sessions.open(token);
    if (!opened) return sendJson(response, 401, NO_SESSION);
    response.setHeader('set-cookie', `${this.#cookieName}=${opened.cookie}; HttpOnly; SameSite=Strict; Path=/api/`);
    sendJson(response, 200, { key: opened.key });
  }

  #stream(response: ServerResponse): void {
    if (this.#streams >= MAX_STREAMS) {
      sendJson(response, 503, { error: `${MAX_STREAMS} pages are open already`, remedy: 'close one' });
      return;
    }
    this.#streams += 1;
    response.writeHead(200, { ...SECURITY_HEADERS, 'content-type': 'text/event-stream' });
    const write = (text: string) => {
      if (!response.writableNeedDrain) response.write(text);
    };
    const stop = this.#options.live.subscribe((json) => write(`data: ${json}\n\n`));
    const alive = setInterval(() => write(': alive\n\n'), KEEP_ALIVE_MS);
    response.once('close', () => {
      clearInterval(alive);
      stop();
      this.#streams -= 1;
    });
  }

  async #read(path: string, query: URLSearchParams, response: ServerResponse): Promise<void> {
    const { data } = this.#options;
    const text = (name: string) => query.get(name) ?? '';
    const readers: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
      '/api/verdict': (signal) => data.verdict(text('id'), signal),
      '/api/pod': (signal) => data.pod(text('pod'), text('since') || '1d', signal),
      '/api/history': (signal) => data.history({ key: text('key') || null, since: text('since') || '30d' }, signal),
    };
    const reader = Object.hasOwn(readers, path) ? readers[path] : undefined;
    if (!reader) return sendJson(response, 404, { error: 'not found', remedy: '' });
    if (this.#reads >= MAX_READS) {
      return sendJson(response, 503, { error: `${MAX_READS} readings run already`, remedy: 'try again in a moment' });
    }
    this.#reads += 1;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      const view = await reader(AbortSignal.any([gone.signal, AbortSignal.timeout(READ_MS)]));
      if (!gone.signal.aborted) sendJson(response, 200, view);
    } catch (error) {
      if (gone.signal.aborted) return;
      const { status, ...described } = data.describe(error);
      sendJson(response, status, described satisfies ErrorView);
    } finally {
      this.#reads -= 1;
    }
  }
}

/** Path and query. */
function splitUrl(url: string): [string, string] {
  const at = url.indexOf('?');
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

function sendJson(response: ServerResponse, status: number, view: unknown): void {
  send(response, status, 'application/json; charset=utf-8', toJson(view));
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  const length = Buffer.byteLength(body);
  response.writeHead(status, { ...SECURITY_HEADERS, 'content-type': type, 'content-length': length });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** A small text body; null: it is too large. */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) {
    body += chunk as string;
    if (body.length > MAX_BODY_BYTES) return null;
  }
  return body;
}

/** @throws Error with a code of listen(2), such as EADDRINUSE */
export async function startServer(options: ServerOptions): Promise<ConsoleServer> {
  const server = new Server(options);
  const http = createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 10_000 });
  http.maxConnections = MAX_CONNECTIONS;
  // With `route_localnet`, the kernel delivers packets of pods to 127.0.0.1.
  http.on('connection', (socket) => {
    if (!socket.remoteAddress?.startsWith('127.')) socket.destroy();
  });
  http.on('request', (request: IncomingMessage, response: ServerResponse) => {
    server.handle(request, response).catch((error: Error) => {
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { error: error.message, remedy: '' });
    });
  });
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen({ host: HOST, port: options.port }, resolve);
  });
  server.authority = `${HOST}:${(http.address() as AddressInfo).port}`;
  return {
    authority: server.authority,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}
