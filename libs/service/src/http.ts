/**
 * HTTP listeners of a service. Read-only, one request a connection, no bodies.
 *
 * They read the first MAX_HEADER_BYTES of a connection and drop what follows. The parser of node:http
 * reads all of it: 64 kB hold 2,400 requests or 11,000 chunks of a body, which take as many objects and
 * events. Sixteen such connections ended a collector, whose heap has 64 MB.
 *
 * `metricsAddress` serves /metrics (Prometheus text), `probeAddress` serves /healthz and /readyz (200
 * or 503, JSON with a reason for each check). They share no listener: clients of the metrics, on a
 * node any pod, must not be able to make a probe of the kubelet fail.
 */
import { STATUS_CODES } from 'node:http';
import { type AddressInfo, createServer, isIPv4, type Server, type Socket } from 'node:net';
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
  // A client may end its side after the request.
  const server = createServer({ allowHalfOpen: true });
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
    // The close event follows.
    socket.on('error', () => undefined);
    onHead(socket, (head) => {
      shares.setBusy(source, socket);
      respond(socket, head, pages).catch((error: Error) => send(socket, text(500, `${error.message}\n`)));
    });
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

/** Calls back once, with the header of the first request; null: it is longer than allowed. */
function onHead(socket: Socket, take: (head: string | null) => void): void {
  let head = '';
  const onData = (chunk: Buffer) => {
    head += chunk.toString('latin1', 0, MAX_HEADER_BYTES + 1 - head.length);
    const end = head.indexOf('\r\n\r\n');
    if (end === -1 && head.length <= MAX_HEADER_BYTES) return;
    socket.off('end', onEnd).off('data', onData);
    // What follows is dropped. If it stayed unread, closing would reset the connection before the response arrives.
    socket.resume();
    take(end === -1 ? null : head.slice(0, end));
  };
  const onEnd = () => socket.destroy();
  socket.on('data', onData).once('end', onEnd);
}

async function respond(socket: Socket, head: string | null, pages: Pages | FindPage): Promise<void> {
  if (head === null) return send(socket, text(431, `at most ${MAX_HEADER_BYTES} bytes of header\n`));
  const [, method, target = ''] = /^([A-Z]+) (\S+) HTTP\/1\.[01](?:\r\n|$)/.exec(head) ?? [];
  if (method === undefined) return send(socket, text(400, 'no request of HTTP/1.1\n'));
  if (method !== 'GET' && method !== 'HEAD') return send(socket, text(405, 'GET only\n'));
  const path = target.split('?')[0] ?? '';
  const found = typeof pages === 'function' ? pages(path) : await (Object.hasOwn(pages, path) ? pages[path]?.() : null);
  const known = typeof pages === 'function' ? 'no such page' : Object.keys(pages).join(' ');
  send(socket, found ?? text(404, `${known}\n`), method === 'HEAD');
}

const text = (status: number, body: string): Page => ({ status, type: 'text/plain', body });

function send(socket: Socket, { status, type, body }: Page, isHead = false): void {
  const fields = [`content-type: ${type}`, `content-length: ${Buffer.byteLength(body)}`, 'connection: close'];
  socket.write(`HTTP/1.1 ${[`${status} ${STATUS_CODES[status] ?? ''}`, ...fields].join('\r\n')}\r\n\r\n`);
  if (!isHead) socket.write(body);
  socket.destroySoon();
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
