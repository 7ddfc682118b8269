/**
 * The HTTP server of the console.
 *
 * Paths: the pages and their files for every request; `POST /api/session` exchanges a one-time token;
 * the other `/api/` paths are for those whom the door admits, within their scope. Nothing here changes
 * anything on the bus.
 *
 * Bounds: MAX_CONNECTIONS (connections.ts), MAX_STREAMS open event streams and MAX_READS readings at a
 * time, shared by visitors, and one reading at most READ_MS. A slow page misses views, instead of having
 * them queued. An open stream is admitted again every KEEP_MS, gets nothing while that is decided, and ends
 * if its scope changed.
 */
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions as TlsOptions, Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { FairCounts } from '@bailiff/service/fair-counts';
import { type Door, type Guest, KEEP_MS, Refused } from '../access/door.ts';
import type { ConsoleData } from '../data.ts';
import { toJson } from '../json.ts';
import type { Lives } from '../live/lives.ts';
import type { DoorView, ErrorView, TrialEvent } from '../wire.ts';
import { limitConnections, onRequests } from './connections.ts';
import { KEY_HEADER, LinkDoor } from './link-door.ts';
import { DOCUMENT, PAGES, type PageFiles, SECURITY_HEADERS, typeOf } from './page.ts';
import { type Refusal, refusalOf } from './request-check.ts';

export const HOST = '127.0.0.1';
export const MAX_CONNECTIONS = 512;
/** Open pages of all visitors. One visitor has half of them at most. */
export const MAX_STREAMS = 128;
export const MAX_READS = 8;
const READ_MS = 120_000;
const TRIAL_MS = 600_000;
const MAX_BODY_BYTES = 1_024;
/** A token of OIDC with many groups is long. */
const MAX_HEADER_BYTES = 32_768;
const MAX_QUERY_LENGTH = 512;
/** A comment on an idle stream: the page notices a dead connection. */
const KEEP_ALIVE_MS = 10_000;

export interface ServerOptions {
  host?: string;
  port: number;
  /** Address in browsers; default: that of the listener, by http. */
  origin?: string;
  tls?: TlsOptions;
  door: Door;
  data: ConsoleData;
  lives: Lives;
  page: PageFiles;
  reports?: ServerReports;
}

/** For metrics and logs. */
export interface ServerReports {
  /** A request that is not answered, although the door admits its visitor, or before it is asked. */
  onRefused(status: 403 | 421 | 503, reason: string): void;
  /** A request that failed for no fault of the visitor. */
  onFailed(error: unknown): void;
  /** A connection was closed, because a new one is beyond MAX_CONNECTIONS. */
  onDisplaced(): void;
}

const NO_REPORTS: ServerReports = { onRefused: () => {}, onFailed: () => {}, onDisplaced: () => {} };

export interface ConsoleServer {
  /** `http://127.0.0.1:9470` */
  origin: string;
  /** Of the listener. */
  port: number;
  /** Open pages. */
  streams(): number;
  /** Of a TLS listener, for new connections. */
  setCertificates(tls: TlsOptions): void;
  close(): Promise<void>;
}

const REFUSALS: Readonly<Record<Refusal, [403 | 405 | 421, string]>> = {
  host: [421, 'this console answers only at its own address'],
  origin: [403, 'this request is from another page'],
  method: [405, 'this method is not allowed'],
};

const NEEDS_ALL: ErrorView = {
  error: 'this page judges the violations of all namespaces, and you may see some of them',
  remedy: 'ask someone who may see all namespaces',
};
/** Shortest time between two reports of progress. */
const PROGRESS_MS = 250;

class Server {
  readonly #options: ServerOptions;
  readonly #reports: ServerReports;
  origin = '';
  /** By visitor. */
  readonly #streams = new FairCounts(MAX_STREAMS);
  readonly #reads = new FairCounts(MAX_READS);
  /** A trial takes a processor while it runs. */
  #isTrying = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#reports = options.reports ?? NO_REPORTS;
  }

  get streams(): number {
    return this.#streams.size;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = splitUrl(request.url ?? '');
    const isApi = path.startsWith('/api/');
    const { method = '', headers } = request;
    const refusal = refusalOf({ method, isApi, headers }, this.origin);
    if (refusal) return this.#refuse(response, refusal);
    if (!isApi) return this.#file(path, response);
    if (path === '/api/session') return this.#session(request, response);
    if (method !== 'GET') return sendJson(response, 405, { error: REFUSALS.method[1], remedy: '' });
    if (query.length > MAX_QUERY_LENGTH) return sendJson(response, 414, { error: 'the query is too long', remedy: '' });
    // Another site can send neither header. Browsers send the first one to https only.
    const { door } = this.#options;
    if (door.kind === 'proxy' && headers['sec-fetch-site'] === undefined && headers[KEY_HEADER] === undefined) {
      return this.#refuse(response, 'origin', `a program sends the header ${KEY_HEADER}, with any value`);
    }
    const guest = await this.#admitted(request, response);
    // Of a connection that was closed meanwhile, no event ends what is begun here.
    if (!guest || response.destroyed) return;
    if (path === '/api/now') return this.#stream(request, response, guest);
    const needsAll = path === '/api/rules' || path === '/api/trial';
    if (needsAll && !guest.scope.isAll) {
      this.#reports.onRefused(403, NEEDS_ALL.error);
      return sendJson(response, 403, NEEDS_ALL);
    }
    if (path === '/api/trial') return this.#trial(new URLSearchParams(query), { request, response, guest });
    await this.#read(path, new URLSearchParams(query), { request, response, guest });
  }

  /** Null: the response says why not. */
  async #admitted(request: IncomingMessage, response: ServerResponse): Promise<Guest | null> {
    try {
      return await this.#options.door.admit(request);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      sendJson(response, error.status, { error: error.message, remedy: error.remedy });
      return null;
    }
  }

  /** Whether the visitor still has the scope. */
  async #isStill(request: IncomingMessage, { name, scope }: Guest): Promise<boolean> {
    try {
      const now = await this.#options.door.admit(request);
      return now.name === name && now.scope.key === scope.key;
    } catch (error) {
      if (error instanceof Refused) return false;
      throw error;
    }
  }

  #file(path: string, response: ServerResponse): void {
    const name = PAGES.includes(path) ? DOCUMENT : path;
    const { page } = this.#options;
    const content = Object.hasOwn(page, name) ? page[name] : undefined;
    if (content === undefined) send(response, 404, 'text/plain; charset=utf-8', 'not found\n');
    else send(response, 200, typeOf(name), content);
  }

  async #session(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { door } = this.#options;
    if (request.method === 'GET') return sendJson(response, 200, { kind: door.kind } satisfies DoorView);
    if (!(door instanceof LinkDoor)) return sendJson(response, 405, { error: REFUSALS.method[1], remedy: '' });
    const token = await bodyOf(request);
    const opened = token === null ? null : door.open(token);
    if (!opened) return sendJson(response, 401, { error: 'the link was used, or is of another console', remedy: '' });
    const name = LinkDoor.cookieName(request.socket.localPort);
    response.setHeader('set-cookie', `${name}=${opened.cookie}; HttpOnly; SameSite=Strict; Path=/api/`);
    sendJson(response, 200, { key: opened.key });
  }

  #stream(request: IncomingMessage, response: ServerResponse, guest: Guest): void {
    if (!hasRoom(this.#streams, guest)) return void this.#tooMany(response, 'pages are open');
    /** The newest view, while it is not sent: before the head, and while the rights are asked for. */
    let held = '';
    let isHeld = true;
    const write = (text: string) => {
      if (!response.destroyed && !response.writableNeedDrain) response.write(text);
    };
    const release = () => {
      isHeld = false;
      if (held !== '') write(held);
      held = '';
    };
    const stop = this.#options.lives.subscribe(guest.scope, (json) => {
      if (isHeld) held = `data: ${json}\n\n`;
      else write(`data: ${json}\n\n`);
    });
    if (!stop) return void this.#tooMany(response, 'visitors with other rights are here');
    this.#streams.add(guest.name);
    beginEvents(response);
    release();
    const alive = setInterval(() => isHeld || write(': alive\n\n'), KEEP_ALIVE_MS);
    const check = setInterval(() => {
      if (isHeld) return;
      isHeld = true;
      this.#isStill(request, guest).then(
        (isStill) => (isStill ? release() : response.end()),
        (error) => {
          this.#reports.onFailed(error);
          response.destroy();
        },
      );
    }, KEEP_MS);
    response.once('close', () => {
      clearInterval(alive);
      clearInterval(check);
      stop();
      this.#streams.remove(guest.name);
    });
  }

  #readerOf(path: string, query: URLSearchParams, { scope: { maySee } }: Guest) {
    const { data } = this.#options;
    const text = (name: string) => query.get(name) ?? '';
    const since = (usual: string) => text('since') || usual;
    const readers: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
      '/api/verdict': (signal) => data.verdict(text('id'), maySee, signal),
      '/api/pod': (signal) =>
        data.pod({ pod: text('pod'), namespace: text('namespace') || null, since: since('1d') }, maySee, signal),
      '/api/graph': (signal) => data.graph(since('1h'), maySee, signal),
      '/api/policies': (signal) => data.policies(since('1d'), maySee, signal),
      '/api/rules': (signal) => data.rules(signal),
      '/api/history': (signal) => data.history({ key: text('key') || null, since: since('30d') }, maySee, signal),
    };
    return Object.hasOwn(readers, path) ? readers[path] : undefined;
  }

  async #read(
    path: string,
    query: URLSearchParams,
    { request, response, guest }: { request: IncomingMessage; response: ServerResponse; guest: Guest },
  ): Promise<void> {
    const reader = this.#readerOf(path, query, guest);
    if (!reader) return sendJson(response, 404, { error: 'not found', remedy: '' });
    if (!hasRoom(this.#reads, guest)) return this.#tooMany(response, 'readings run');
    this.#reads.add(guest.name);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      const view = await reader(AbortSignal.any([gone.signal, AbortSignal.timeout(READ_MS)]));
      if (gone.signal.aborted) return;
      // A reading takes up to two minutes.
      if (await this.#isStill(request, guest)) sendJson(response, 200, view);
      else sendJson(response, 403, { error: 'your rights changed meanwhile', remedy: 'read again' });
    } catch (error) {
      if (gone.signal.aborted) return;
      const { status, ...described } = this.#options.data.describe(error);
      if (status >= 500) this.#reports.onFailed(error);
      sendJson(response, status, described satisfies ErrorView);
    } finally {
      this.#reads.remove(guest.name);
    }
  }

  /** Progress as events, then the result. A page that is closed ends the trial. */
  async #trial(
    query: URLSearchParams,
    { request, response, guest }: { request: IncomingMessage; response: ServerResponse; guest: Guest },
  ): Promise<void> {
    if (this.#isTrying) return this.#tooMany(response, 'trials run');
    this.#isTrying = true;
    const { data } = this.#options;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    beginEvents(response);
    const write = (event: TrialEvent) => response.write(`data: ${toJson(event)}\n\n`);
    let lastMs = 0;
    try {
      const result = await data.trial(
        {
          key: query.get('key') ?? '',
          assignments: query.getAll('set'),
          since: query.get('since') || '1d',
          onProgress: (frames, left) => {
            const nowMs = performance.now();
            if (nowMs - lastMs < PROGRESS_MS) return;
            lastMs = nowMs;
            write({ frames, left });
          },
        },
        AbortSignal.any([gone.signal, AbortSignal.timeout(TRIAL_MS)]),
      );
      if (gone.signal.aborted) return;
      if (await this.#isStill(request, guest)) write({ result });
      else write({ error: 'your rights changed meanwhile', remedy: '' });
    } catch (error) {
      if (gone.signal.aborted) return;
      const { status, error: text, remedy } = data.describe(error);
      if (status >= 500) this.#reports.onFailed(error);
      write({ error: text, remedy });
    } finally {
      this.#isTrying = false;
      response.end();
    }
  }

  #refuse(response: ServerResponse, refusal: Refusal, remedy = ''): void {
    const [status, error] = REFUSALS[refusal];
    if (status !== 405) this.#reports.onRefused(status, error);
    sendJson(response, status, { error, remedy });
  }

  #tooMany(response: ServerResponse, what: string): void {
    const error = `too many ${what} already`;
    this.#reports.onRefused(503, error);
    sendJson(response, 503, { error, remedy: 'close a page, or try again in a moment' });
  }
}

/** A quarter is for those who may see everything: visitors with other rights may have many names. */
const hasRoom = (counts: FairCounts, { name, scope }: Guest): boolean =>
  counts.roomFor(name, scope.isAll ? 0 : counts.most / 4) > 0;

/** Path and query. */
function splitUrl(url: string): [string, string] {
  const at = url.indexOf('?');
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

function beginEvents(response: ServerResponse): void {
  response.writeHead(200, { ...SECURITY_HEADERS, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
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
  const { host = HOST, port, tls, reports = NO_REPORTS } = options;
  const server = new Server(options);
  const common = { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 10_000 };
  const http: HttpServer = tls ? createTlsServer({ ...common, ...tls }) : createServer(common);
  limitConnections(http, MAX_CONNECTIONS, () => reports.onDisplaced());
  onRequests(http, (request, response) => {
    server.handle(request, response).catch((error: Error) => {
      reports.onFailed(error);
      if (response.headersSent) response.destroy();
      // In a cluster, the cause is for the log: it may name what the visitor may not see.
      else if (options.door.kind === 'proxy')
        sendJson(response, 500, { error: 'the console failed', remedy: 'its log names the cause' });
      else sendJson(response, 500, { error: error.message, remedy: '' });
    });
  });
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen({ host, port }, resolve);
  });
  const bound = (http.address() as AddressInfo).port;
  server.origin = options.origin ?? `http://${host}:${bound}`;
  return {
    origin: server.origin,
    port: bound,
    streams: () => server.streams,
    setCertificates: (next) => {
      if (http instanceof TlsServer) http.setSecureContext(next);
    },
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}
