/**
 * The API server stand-in: wires all parts, starts and closes them. Tests and the lab use
 * `startApiServer`. Closing ends watches, timers and connections. The certificate directory stays,
 * so that a restart with it (and the port) looks like the same server.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { Tokens } from './access/auth.ts';
import { ensureCertificates } from './access/certs.ts';
import { writeKubeconfig } from './access/kubeconfig.ts';
import { ServiceAccountTokens } from './access/tokens.ts';
import type { TokenUser } from './access/users.ts';
import { keepBudgets } from './controllers/budgets.ts';
import { GarbageCollector } from './controllers/garbage.ts';
import { ResourceHandler } from './http/handler.ts';
import { HttpLayer } from './http/http.ts';
import { atPodAddress, type PortOfPod, portForwards, type StreamOfPod } from './http/port-forward.ts';
import { admitCustom, crdStorage, resourcesOf } from './kinds/crds.ts';
import { Registry } from './kinds/registry.ts';
import { Faults } from './request/faults.ts';
import { RequestLog, type RequestRecord } from './request/request-log.ts';
import { Store } from './store/store.ts';
import { Watches } from './store/watch.ts';
import { Operations } from './verbs/operations.ts';

export interface ApiServerOptions {
  /** Directory for certificates and kubeconfigs; created if absent. */
  certDir: string;
  /** Default 0: any free port. */
  port?: number;
  host?: string;
  /** Static tokens. Default: one user `admin` with a random token. */
  tokens?: TokenUser[];
  /** Changes kept for watches and old lists. Default 20,000. */
  historyLimit?: number;
  /** Default 10,000; a real server uses a minute. */
  bookmarkIntervalMs?: number;
  /** Version before the first write. Default 1000. */
  startVersion?: number;
  /** Limit of kept events; the oldest are dropped. Default 10,000. */
  maxEvents?: number;
  /**
   * Minimum lifetime of service account tokens. Default 600, as on a real server; less for tests of
   * expiry.
   */
  minTokenSeconds?: number;
  /** False: tokens without the node claim, as before 1.32. */
  tokenNodeClaim?: boolean;
  /** Milliseconds since the epoch. */
  nowMs?: () => number;
  onRequest?: (record: RequestRecord) => void;
  /** Where `pods/portforward` connects. Default: the pod's address. */
  portOfPod?: PortOfPod;
  /** Instead: a container runtime serves it. */
  streamOfPod?: StreamOfPod;
  /** Text of `pods/log`. Default: none. */
  logOfPod?: (pod: { namespace: string; name: string }) => string;
}

export interface ApiServer {
  url: string;
  port: number;
  caFile: string;
  /** Path of the kubeconfig of a user given at start. */
  kubeconfigPath(user?: string): string;
  /** The token of a user given at start. */
  token(user?: string): string;
  store: Store;
  /** The operations in this process, without HTTP, authorization or faults. */
  api: Operations;
  faults: Faults;
  requests: RequestLog;
  /** Open watches. */
  openWatches(): number;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Bookmarks are frequent, so that tests receive some. */
const defaultBookmarkIntervalMs = 10_000;

/** No client deletes events; a real server expires them after an hour. */
const defaultMaxEvents = 10_000;

const defaultMinTokenSeconds = 600;
/** Keep-alive time of an idle connection. */
const keepAliveMs = 90_000;

const initialNamespaces = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const host = options.host ?? '127.0.0.1';
  const users = options.tokens ?? [
    { user: 'admin', token: randomBytes(16).toString('hex'), groups: ['system:masters'] },
  ];
  assert(users.length > 0, 'a server that knows no token is of no use');
  const nowMs = options.nowMs ?? Date.now;
  const certificates = await ensureCertificates(options.certDir, host);

  const store = new Store({ historyLimit: options.historyLimit, startVersion: options.startVersion });
  const registry = new Registry();
  const accounts = new ServiceAccountTokens(store, nowMs, {
    minSeconds: options.minTokenSeconds ?? defaultMinTokenSeconds,
    nodeClaim: options.tokenNodeClaim ?? true,
  });
  const tokens = new Tokens(users, accounts);
  const log = new RequestLog();
  if (options.onRequest !== undefined) log.listen(options.onRequest);
  const watches = new Watches(store, options.bookmarkIntervalMs ?? defaultBookmarkIntervalMs);
  const operations: Operations = new Operations(store, registry, nowMs, {
    admit: (def, object, strict) =>
      def.custom ? admitCustom(def, store.get(crdStorage, `${def.plural}.${def.group}`), object, strict) : object,
    orphan: (uid) => garbage.orphan(uid),
  });
  const garbage = new GarbageCollector(operations);
  registerCustomResources(store, registry);
  limitEvents(store, options.maxEvents ?? defaultMaxEvents);
  provideServiceAccounts(operations);
  keepBudgets(store);
  for (const name of initialNamespaces) operations.create('namespaces', { metadata: { name } });

  const faults = new Faults({
    cutWatches: () => watches.cutAll(),
    stallWatches: (on) => watches.stall(on),
    compact: () => store.compact(),
    expireTokens: (user) => tokens.expire(user),
    restoreTokens: (user) => tokens.restore(user),
  });
  const handler = new ResourceHandler(operations, nowMs, accounts);
  const http = new HttpLayer({
    handler,
    registry,
    tokens,
    faults,
    watches,
    log,
    logOfPod: options.logOfPod ?? (() => ''),
  });
  const { key, cert } = certificates;
  // As long as on a real server. With Node's five seconds, a slow client in an emulated machine
  // would use a connection while it is being closed.
  const server = createServer({ key, cert, keepAliveTimeout: keepAliveMs }, http.onRequest);
  server.on(
    'upgrade',
    portForwards({ tokens, store, portOfPod: options.portOfPod ?? atPodAddress, streamOfPod: options.streamOfPod }),
  );
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const port = await listen(server, options.port ?? 0, host);
  const url = `https://${host}:${port}`;
  const kubeconfigPath = (user = users[0]!.user) =>
    join(options.certDir, `${user.replaceAll(/[^A-Za-z0-9._-]/g, '_')}.kubeconfig`);
  for (const { user, token } of users)
    await writeKubeconfig(kubeconfigPath(user), { url, ca: certificates.ca, user, token });

  const close = async () => {
    faults.clear();
    garbage.stop();
    watches.cutAll();
    await closeServer(server, sockets);
  };
  return {
    url,
    port,
    caFile: certificates.caFile,
    kubeconfigPath,
    token: (user = users[0]!.user) => tokenOf(users, user),
    store,
    api: operations,
    faults,
    requests: log,
    openWatches: () => watches.count,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function tokenOf(users: TokenUser[], user: string): string {
  const found = users.find((entry) => entry.user === user);
  assert(found !== undefined, `no user is called ${user}`);
  return found.token;
}

/** Serves the resources of stored definitions. */
function registerCustomResources(store: Store, registry: Registry): void {
  store.subscribe((change) => {
    if (change.storage !== crdStorage) return;
    const gone = change.type === 'DELETED' || change.object.metadata.deletionTimestamp !== undefined;
    registry.setCustom(change.key, gone ? [] : resourcesOf(change.object));
  });
}

/** Creates the service account `default` of each namespace, as a controller does. */
function provideServiceAccounts(operations: Operations): void {
  operations.store.subscribe((change) => {
    if (change.storage !== 'namespaces' || change.type !== 'ADDED') return;
    operations.create('serviceaccounts', { metadata: { name: 'default', namespace: change.key } });
  });
}

/** Drops the oldest events above the limit, an eighth at a time. */
function limitEvents(store: Store, limit: number): void {
  store.subscribe((change) => {
    if (change.storage !== 'events' || change.type !== 'ADDED') return;
    const keys = store.keys('events');
    if (keys.length <= limit + Math.ceil(limit / 8)) return;
    const oldestFirst = keys
      .map((key) => [key, Number(store.get('events', key)!.metadata.resourceVersion)] as const)
      .sort(([, a], [, b]) => a - b);
    for (const [key] of oldestFirst.slice(0, keys.length - limit)) store.remove('events', key);
  });
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/**
 * Closes open connections too. A connection in its TLS handshake is unknown to HTTP and would keep
 * the server open.
 */
function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    server.closeAllConnections();
    for (const socket of sockets) socket.destroy();
  });
}
