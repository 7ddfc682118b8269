/**
 * HTTP server of a service: GET /metrics (Prometheus text), /healthz and /readyz (200 or 503, JSON
 * with a reason for each check). Read-only. Limits: 64 connections, 5 s a request, no bodies.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { ServiceError } from './errors.ts';
import type { Health, HealthReport } from './health.ts';

const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 5_000;

export interface StatusServer {
  /** host:port of the listening socket. */
  address: string;
  close(): Promise<void>;
}

/**
 * Starts the server. @throws ServiceError SERVICE_CONFIG if the address cannot be used,
 * SERVICE_PRIVILEGE if the permission is missing
 */
export async function startStatusServer(address: string, metrics: Registry, health: Health): Promise<StatusServer> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      request.resume();
      const path = (request.url ?? '').split('?')[0];
      if (request.method !== 'GET' && request.method !== 'HEAD') send(response, 405, 'text/plain', 'GET only\n');
      else answer(path ?? '', response, metrics, health).catch((error: Error) => fail(response, error));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, address);
  const bound = server.address() as AddressInfo;
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return {
    address: `${host}:${bound.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(path: string, response: ServerResponse, metrics: Registry, health: Health): Promise<void> {
  if (path === '/metrics') send(response, 200, metrics.contentType, await metrics.metrics());
  else if (path === '/healthz') sendReport(response, await health.checkLive());
  else if (path === '/readyz') sendReport(response, await health.checkReady());
  else send(response, 404, 'text/plain', '/metrics /healthz /readyz\n');
}

function sendReport(response: ServerResponse, report: HealthReport): void {
  send(response, report.ok ? 200 : 503, 'application/json', `${JSON.stringify(report)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

function fail(response: ServerResponse, error: Error): void {
  if (!response.headersSent) send(response, 500, 'text/plain', `${error.message}\n`);
  else response.destroy();
}

function listen(server: Server, address: string): Promise<void> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EACCES' ? 'SERVICE_PRIVILEGE' : 'SERVICE_CONFIG';
      reject(new ServiceError(code, `metricsAddress: cannot listen on ${address}: ${cause.message}`, { cause }));
    });
    server.listen({ host, port: Number(address.slice(at + 1)) }, resolve);
  });
}
