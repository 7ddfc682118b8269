/**
 * Credentials for the API server. @kubernetes/client-node reads the kubeconfig and applies its
 * authentication (certificates, tokens, exec and file plug-ins, proxies). This file caches the
 * result, renews it, and reloads it after a 401.
 *
 * Only `dist/config.js` is imported: the package's index loads all generated models, about 30 MB.
 */

import type { RequestOptions } from 'node:https';
import { Agent } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { KubeError } from './errors.ts';

export interface KubeSource {
  /** Path of a kubeconfig. Empty: KUBECONFIG, ~/.kube/config, or the pod's service account. */
  kubeconfig?: string;
  /** Context instead of the current one. */
  context?: string;
}

export interface Credentials {
  /** Scheme, host and port, with the server's path prefix and no trailing slash. */
  server: URL;
  agent: Agent;
  headers: Record<string, string>;
}

/**
 * The kubelet rotates a service account token at 80 % of its lifetime or at an age of 24 hours. The
 * default lifetime is about one hour.
 */
const RENEW_MS = 60_000;
/** Limit of sockets of one process, against leaks; not reached in normal operation. */
const MAX_SOCKETS = 64;
const IDLE_SOCKET_MS = 60_000;

/** Loads a kubeconfig. @throws KubeError KUBE_CONFIG */
export function loadKubeConfig(source: KubeSource): KubeConfig {
  const config = new KubeConfig();
  const name = source.kubeconfig || 'default kubeconfig';
  try {
    if (source.kubeconfig) config.loadFromFile(source.kubeconfig);
    else config.loadFromDefault();
  } catch (cause) {
    throw new KubeError('KUBE_CONFIG', `${name}: ${(cause as Error).message}`, {}, { cause });
  }
  if (source.context) config.setCurrentContext(source.context);
  const server = config.getCurrentCluster()?.server;
  if (!server || !config.getCurrentUser()) {
    const context = config.getCurrentContext() || '(none)';
    throw new KubeError('KUBE_CONFIG', `${name}: context ${context} names no known cluster and user`);
  }
  if (!server.startsWith('https://')) {
    throw new KubeError(
      'KUBE_CONFIG',
      `${name}: ${server}: only https is supported, because plain http would expose the token`,
    );
  }
  return config;
}

/** Where a client gets its credentials from. */
export interface CredentialSource {
  /** Number of reloads after a 401. */
  readonly reloads: number;
  /** @throws KubeError KUBE_CONFIG */
  get(): Promise<Credentials>;
  reload(seen: Credentials): Promise<void>;
  close(): void;
}

export class CredentialStore implements CredentialSource {
  #load: () => KubeConfig;
  #config: KubeConfig;
  #current: Promise<Credentials> | null = null;
  #madeAtMs = 0;
  #last: { credentials: Credentials; fingerprint: string } | null = null;
  /** For `ofToken`: trusts the server's CA, and has no client certificate. */
  #tokenAgent: Agent | null = null;
  /** Number of reloads after a 401. */
  reloads = 0;

  /** @throws KubeError KUBE_CONFIG */
  constructor(load: () => KubeConfig) {
    this.#load = load;
    this.#config = load();
  }

  /** Current credentials, renewed every minute. @throws KubeError KUBE_CONFIG */
  get(): Promise<Credentials> {
    if (!this.#current || performance.now() - this.#madeAtMs > RENEW_MS) {
      this.#madeAtMs = performance.now();
      this.#current = this.#apply();
      // Callers receive a failure, and the next call retries.
      this.#current.catch(() => {
        this.#current = null;
      });
    }
    return this.#current;
  }

  /** Reloads kubeconfig, tokens and certificates after a 401. `seen`: the rejected credentials. */
  async reload(seen: Credentials): Promise<void> {
    // If many requests are rejected at once, the first reload serves all of them.
    if (this.#last?.credentials !== seen) return;
    this.reloads += 1;
    this.#last = null;
    this.#config = this.#load();
    this.#current = null;
  }

  close(): void {
    this.#last?.credentials.agent.destroy();
    this.#tokenAgent?.destroy();
  }

  /**
   * Credentials of another person for the same server: this token, and nothing of our own identity.
   * Its owner is this store. @throws KubeError KUBE_CONFIG behind a proxy, whose agent has our certificate
   */
  ofToken(token: string): CredentialSource {
    const get = async (): Promise<Credentials> => {
      const { server } = await this.get();
      if (!this.#tokenAgent) throw new KubeError('KUBE_CONFIG', 'tokens of other people are not sent through a proxy');
      return { server, agent: this.#tokenAgent, headers: { Authorization: `Bearer ${token}` } };
    };
    return { reloads: 0, get, reload: async () => {}, close: () => {} };
  }

  async #apply(): Promise<Credentials> {
    const options: RequestOptions = { headers: {} };
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (cause) {
      throw new KubeError('KUBE_CONFIG', `authentication: ${(cause as Error).message}`, {}, { cause });
    }
    const headers = Object.fromEntries(
      Object.entries(options.headers ?? {}).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, `${value}`.trim()]],
      ),
    );
    if (options.auth) headers['Authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    const fingerprint = JSON.stringify([options.ca, options.cert, options.key, options.servername, headers]);
    if (this.#last?.fingerprint === fingerprint) return this.#last.credentials;
    const cluster = this.#config.getCurrentCluster();
    const server = new URL((cluster?.server ?? '').replace(/\/+$/, ''));
    // The library's agent has no keep-alive, so it is used only for proxies.
    const agent = cluster?.proxyUrl ? (options.agent as Agent) : makeAgent(options);
    const { ca, servername, rejectUnauthorized } = options;
    this.#tokenAgent = cluster?.proxyUrl ? null : makeAgent({ ca, servername, rejectUnauthorized });
    const credentials = { server, agent, headers };
    for (const socket of Object.values(this.#last?.credentials.agent.freeSockets ?? {}).flat()) socket?.destroy();
    this.#last = { credentials, fingerprint };
    return credentials;
  }
}

function makeAgent({ ca, cert, key, passphrase, servername, rejectUnauthorized }: RequestOptions): Agent {
  return new Agent({
    ca,
    cert,
    key,
    passphrase,
    servername,
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    keepAlive: true,
    // TCP keepalive detects a vanished peer, independently of the server's bookmarks. Node 20 sets
    // it when a TLS socket returns to the pool. A watch on a new socket therefore has only its own
    // timeout (`inactivityMs` in client.ts).
    keepAliveMsecs: 15_000,
    maxSockets: MAX_SOCKETS,
    maxFreeSockets: 8,
    scheduling: 'lifo',
    timeout: IDLE_SOCKET_MS,
  });
}
