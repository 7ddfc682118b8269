/** An API stand-in for one test, on a free port, with its files in a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ClientOptions, type KubeClient, loadKube } from '@bailiff/kube';
import { type ApiServer, type ApiServerOptions, startApiServer } from '@bailiff/lab/apiserver';

export interface KubeHarness extends AsyncDisposable {
  server: ApiServer;
  dir: string;
  client(options?: ClientOptions & { user?: string }): KubeClient;
  pod(name: string, change?: { node?: string; labels?: Record<string, string>; more?: object }): { uid: string };
}

export const FAST = { baseMs: 5, maxMs: 50 };

export async function startKube(options: Partial<ApiServerOptions> = {}): Promise<KubeHarness> {
  const dir = await mkdtemp(path.join(tmpdir(), 'bailiff-kube-'));
  const server = await startApiServer({ certDir: dir, bookmarkIntervalMs: 200, ...options });
  const clients: KubeClient[] = [];
  return {
    server,
    dir,
    client({ user, ...rest } = {}) {
      const client = loadKube({ kubeconfig: server.kubeconfigPath(user), backoff: FAST, ...rest });
      clients.push(client);
      return client;
    },
    pod(name, { node = 'node-1', labels = {}, more = {} } = {}) {
      const spec = { nodeName: node, containers: [{ name: 'main', image: 'x' }], ...more };
      const { metadata } = server.api.create('pods', { metadata: { name, namespace: 'default', labels }, spec });
      return { uid: metadata.uid };
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
