/**
 * HTTP listeners of a service. Read-only, one request a connection, no bodies.
 *
 * `metricsAddress` serves /metrics (Prometheus text), `probeAddress` serves /healthz and /readyz (200
 * or 503, JSON with a reason for each check). They share no listener: clients of the metrics, on a
 * node any pod, must not be able to make a probe of the kubelet fail.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv4, type Socket } from 'node:net';
import { ConnectionShares, type ShareReason } from './connection-shares.ts';
import { ServiceError } from './errors.ts';
import type { Health, HealthReport } from './health.ts';

/** Limits of each listener. A connection beyond them closes an older one (connection-shares.ts). */
export const MAX_CONNECTIONS = 128;
export const MAX_CONNECTIONS_PER_SOURCE = 16;
/** Longest life of a connection, from its first packet to the end of the response. */
export const CONNECTION_MS = 10_000;
const MAX_HEADER_BYTES = 4_096;

/** Why a listener closed a connection before its response was complete. */
export type CloseReason = ShareReason | 'deadline' | 'not-local';
const CLOSE_REASONS: readonly CloseReason[] = ['source-share', 'all-shares', 'deadline', 'not-local'];

export interface Page {
  status: number;
  type: string;
  body: string | Buffer;
}
/** Pages of a listener by path. */
export type Pages = Readonly<Record<string, () => Promise<Page>>>;
/** Pages that no list can name. @returns null: there is none at this path */
export type FindPage = (path: string) => Page | null;

export interface Listener {
  /** host:port of the listening socket. */
  address: string;
  connections(): number;
  /** Connections that were closed before their response was complete, since the start. */
  closed(): Readonly<Record<CloseReason, number>>;
  close(): Promise<void>;
}

export const probePages = (health: Health): Pages => ({
  '/healthz': async () => reportPage(await health.checkLive()),
  '/readyz': async () => reportPage(await health.checkReady()),
});

const reportPage = (report: HealthReport): Page => ({
  status: report.ok ? 200 : 503,
  type: 'application/json',
  body: `${JSON.stringify(report)}\n`,
});

/**
 * Starts a listener. One on a loopback address refuses other sources: with `route_localnet`, the
 * kernel delivers packets of pods to 127.0.0.1. @param key of the configuration, for errors
 * @throws ServiceError SERVICE_CONFIG if the address cannot be used, SERVICE_PRIVILEGE if the
 * permission is missing
 */
export async function startListener(
  key: string,
  address: string,
  pages: Pages | FindPage,
  connectionMs = CONNECTION_MS,
): Promise<Listener> {
  const closed: Record<CloseReason, number> = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as never;
  const shares = new ConnectionShares<Socket>({ perSource: MAX_CONNECTIONS_PER_SOURCE, total: MAX_CONNECTIONS });
  const open = new Set<Socket>();
  const cut = (socket: Socket, reason: CloseReason) => {
    closed[reason] += 1;
    socket.destroy();
  };
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: 0, requestTimeout: 0 });
  server.on('connection', (socket: Socket) => {
    const source = socket.remoteAddress;
    if (source === undefined) return void socket.destroy();
    if (isLoopback(socket.localAddress ?? '') && !isLoopback(source)) return cut(socket, 'not-local');
    const displaced = shares.add(source, socket);
    if (displaced) cut(displaced.connection, displaced.reason);
    open.add(socket);
    const deadline = setTimeout(() => cut(socket, 'deadline'), connectionMs);
    socket.once('close', () => {
      clearTimeout(deadline);
      open.delete(socket);
      shares.remove(source, socket);
    });
  });
  const answered = new WeakSet<Socket>();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    const { socket } = request;
    // A second request that was sent before the first response.
    if (answered.has(socket)) return void socket.destroy();
    answered.add(socket);
    shares.setBusy(socket.remoteAddress ?? '', socket);
    respond(request, response, pages).catch((error: Error) => fail(response, error));
  });
  await listen(server, key, address);
  const bound = server.address() as AddressInfo;
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return {
    address: `${host}:${bound.port}`,
    connections: () => open.size,
    closed: () => closed,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

const isLoopback = (address: string) => {
  const plain = address.replace(/^::ffff:/, '');
  return plain === '::1' || (isIPv4(plain) && plain.startsWith('127.'));
};

async function respond(request: IncomingMessage, response: ServerResponse, pages: Pages | FindPage): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? '';
  if (request.method !== 'GET' && request.method !== 'HEAD') send(response, text(405, 'GET only\n'));
  else if (typeof pages === 'function') send(response, pages(path) ?? text(404, 'no such page\n'));
  else if (Object.hasOwn(pages, path)) send(response, (await pages[path]?.()) as Page);
  else send(response, text(404, `${Object.keys(pages).join(' ')}\n`));
}

const text = (status: number, body: string): Page => ({ status, type: 'text/plain', body });

function send(response: ServerResponse, { status, type, body }: Page): void {
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body), connection: 'close' };
  response.writeHead(status, headers);
  response.end(body);
}

function fail(response: ServerResponse, error: Error): void {
  if (!response.headersSent) send(response, text(500, `${error.message}\n`));
  else response.destroy();
}

function listen(server: Server, key: string, address: string): Promise<void> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EACCES' ? 'SERVICE_PRIVILEGE' : 'SERVICE_CONFIG';
      reject(new ServiceError(code, `${key}: cannot listen on ${address}: ${cause.message}`, { cause }));
    });
    server.listen({ host, port: Number(address.slice(at + 1)) }, resolve);
  });
}
