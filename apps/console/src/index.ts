/**
 * The console. apps/cli starts it: for one user on this machine, with the user's own login, or in the
 * cluster for visitors that Kubernetes knows.
 */
import { randomBytes } from 'node:crypto';
import type { ServerOptions as TlsOptions } from 'node:https';
import type { Door } from './access/door.ts';
import { EVERYTHING } from './access/scope.ts';
import type { Changes, ConsoleData } from './data.ts';
import { Lives } from './live/lives.ts';
import { LinkDoor } from './server/link-door.ts';
import { pageFiles } from './server/page.ts';
import { type ConsoleServer, type ServerOptions, startServer } from './server/server.ts';
import { Sessions } from './server/sessions.ts';
import type { ServerReports } from './server/visit.ts';

export { type Guest, KEEP_MS, Refused } from './access/door.ts';
export { KUBE_RULES, VIEWER_RULE } from './access/kube-rules.ts';
export { ProxyDoor } from './access/proxy-door.ts';
export { Recent } from './access/recent.ts';
export { identityOf, Rights } from './access/rights.ts';
export type { MaySee } from './access/scope.ts';
export { Visitors } from './access/visitors.ts';
export { configSchema, type ServeConfig } from './config.ts';
export type * from './data.ts';
export { makeMetrics } from './metrics.ts';
export type * from './wire.ts';

export interface ConsoleOptions {
  data: ConsoleData;
  changes: Changes;
  /** 0 = any free port. */
  port: number;
  /** False: browsers use 127.0.0.1. */
  hasOwnName?: boolean;
  nowMs: () => number;
}

export interface Console {
  /** Such as `http://3f09c1d2a4b5e6f7.localhost:9470` */
  origin: string;
  /** A link that opens one session. */
  link(): string;
  close(): Promise<void>;
}

/**
 * For one user, on the loopback addresses. The name in browsers is another one in every run: while no console
 * runs, another user of the machine can listen on the port, and leave a service worker in the browser that serves
 * the pages of that name from then on. The caller closes it.
 *
 * @throws Error EADDRINUSE; if the page is not built
 */
export async function startConsole({
  data,
  changes,
  port,
  hasOwnName = true,
  nowMs,
}: ConsoleOptions): Promise<Console> {
  const sessions = new Sessions(nowMs);
  const name = hasOwnName ? { localName: `${randomBytes(8).toString('hex')}.localhost` } : {};
  const { origin, close } = await serve({ port, ...name, data, changes, door: new LinkDoor(sessions) }, nowMs);
  // In the fragment, which a browser sends to no server.
  return { origin, link: () => `${origin}/#token=${sessions.issue()}`, close };
}

export interface ClusterConsoleOptions {
  data: ConsoleData;
  changes: Changes;
  door: Door;
  host: string;
  port: number;
  /** Address in browsers. */
  origin: string;
  tls?: TlsOptions;
  reports: ServerReports;
  nowMs: () => number;
}

export type ClusterConsole = Omit<ConsoleServer, 'origin'>;

/** For visitors of a cluster. The caller closes it. @throws as `startConsole` */
export const startClusterConsole = ({ nowMs, ...options }: ClusterConsoleOptions): Promise<ClusterConsole> =>
  serve(options, nowMs);

async function serve(options: Omit<ServerOptions, 'lives' | 'page'>, nowMs: () => number) {
  const page = pageFiles();
  const lives = new Lives({ data: options.data, nowMs });
  // The only scope of a person on this machine: read from the start on, also while no page is open.
  if (options.door.kind === 'link') lives.keep(EVERYTHING);
  try {
    const server = await startServer({ ...options, lives, page });
    return {
      ...server,
      close: async () => {
        await server.close();
        await lives.close();
      },
    };
  } catch (error) {
    await lives.close();
    throw error;
  }
}
