/** The listeners of the console: HTTP or HTTPS, with bounded connections (connections.ts) of one request at a time. */
import { createServer, type Server as HttpServer } from 'node:http';
import { createServer as createTlsServer, type ServerOptions as TlsOptions, Server as TlsServer } from 'node:https';
import { type AddressInfo, createServer as createNetServer, type Server as NetServer } from 'node:net';
import { onSingleRequests } from '@bailiff/service/single-requests';
import type { Door } from '../access/door.ts';
import type { Changes, ConsoleData } from '../data.ts';
import type { Lives } from '../live/lives.ts';
import { ChangeRequests } from './change-requests.ts';
import { limitConnections } from './connections.ts';
import { OpenPages } from './open-pages.ts';
import type { PageFiles } from './page.ts';
import { Readings } from './readings.ts';
import { sendJson } from './replies.ts';
import { Router } from './router.ts';
import { Trials } from './trials.ts';
import { NO_REPORTS, type ServerReports } from './visit.ts';

export const HOST = '127.0.0.1';
/** Of all sources. */
export const MAX_CONNECTIONS = 512;
/** A token of OIDC with many groups is long. */
const MAX_HEADER_BYTES = 32_768;

export interface ServerOptions {
  host?: string;
  port: number;
  /** A name below `localhost` for browsers, which connect to ::1 or 127.0.0.1 then: both are listened on. */
  localName?: string;
  /** Address in browsers; default: that of the listener, by http. */
  origin?: string;
  tls?: TlsOptions;
  door: Door;
  data: ConsoleData;
  changes: Changes;
  lives: Lives;
  page: PageFiles;
  reports?: ServerReports;
  /** For tests. */
  maxConnections?: number;
}

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

/** @throws Error with a code of listen(2), such as EADDRINUSE */
export async function startServer(options: ServerOptions): Promise<ConsoleServer> {
  const {
    host = HOST,
    port,
    tls,
    reports = NO_REPORTS,
    door,
    data,
    lives,
    page,
    maxConnections = MAX_CONNECTIONS,
  } = options;
  const common = { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 10_000 };
  const http: HttpServer = tls ? createTlsServer({ ...common, ...tls }) : createServer(common);
  onSingleRequests(http, MAX_HEADER_BYTES, tls ? 'secureConnection' : 'connection');
  const keep = limitConnections(http, maxConnections, () => reports.onDisplaced());
  const pages = new OpenPages(door, lives, reports);
  const router = new Router({
    door,
    page,
    pages,
    readings: new Readings(door, data, options.changes, reports),
    trials: new Trials(door, data, reports),
    changes: new ChangeRequests(options.changes, data, reports),
    reports,
    keep,
  });
  http.on('request', (request, response) => {
    router.handle(request, response).catch((error: Error) => {
      reports.onFailed(error);
      if (response.headersSent) response.destroy();
      // In a cluster, the cause is for the log: it may name what the visitor may not see.
      else if (door.kind === 'proxy')
        sendJson(response, 500, { error: 'the console failed', remedy: 'its log names the cause' });
      else sendJson(response, 500, { error: error.message, remedy: '' });
    });
  });
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen({ host, port }, resolve);
  });
  const bound = (http.address() as AddressInfo).port;
  const { localName } = options;
  const second = localName === undefined ? null : await listenOnIpv6(http, bound);
  router.origin = options.origin ?? `http://${localName ?? host}:${bound}`;
  return {
    origin: router.origin,
    port: bound,
    streams: () => pages.size,
    setCertificates: (next) => {
      if (http instanceof TlsServer) http.setSecureContext(next);
    },
    close: () =>
      new Promise((resolve) => {
        second?.close();
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}

/** So that no other user of the machine answers there. @returns null: the machine has no ::1 */
async function listenOnIpv6(http: HttpServer, port: number): Promise<NetServer | null> {
  const second = createNetServer((socket) => http.emit('connection', socket));
  try {
    await new Promise<void>((resolve, reject) => {
      second.once('error', reject);
      second.listen({ host: '::1', port }, resolve);
    });
    return second;
  } catch (error) {
    if (['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(String((error as NodeJS.ErrnoException).code))) return null;
    await new Promise((resolve) => http.close(resolve));
    throw error;
  }
}
