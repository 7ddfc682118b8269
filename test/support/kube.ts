/**
 * An API stand-in for one test, on a free port, with its files in a directory of its own. Pods as
 * users create them, and their status as the kubelet reports it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ClientOptions, type KubeClient, loadKube } from '@bailiff/kube';
import { type ApiServer, type ApiServerOptions, type KubeObject, startApiServer } from '@bailiff/lab/apiserver';

export interface KubeHarness extends AsyncDisposable {
  server: ApiServer;
  dir: string;
  client(options?: ClientOptions & { user?: string }): KubeClient;
  pod(name: string, change?: { node?: string; labels?: Record<string, string>; more?: object }): { uid: string };
}

/** The container of a pod and of its owner's template. The image does not exist. */
export const MAIN_CONTAINER = { name: 'main', image: 'example.invalid/main:1' };

/** A pod with one container. `metadata` and `spec` add fields or replace them. */
export function podObject(name: string, { metadata = {}, spec = {} }: { metadata?: object; spec?: object } = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    spec: { containers: [MAIN_CONTAINER], ...spec },
  };
}

/** Changes fields of a pod's status, as its kubelet does. */
export function reportPod(api: ApiServer['api'], ref: { namespace: string; name: string }, status: object): KubeObject {
  return api.patch('pods', ref, 'application/merge-patch+json', { status }, { subresource: 'status' });
}

/** Status of a pod that runs. */
export const podRuns = (isReady = true) => ({
  phase: 'Running',
  conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
});

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
      const object = podObject(name, { metadata: { namespace: 'default', labels }, spec: { nodeName: node, ...more } });
      const { metadata } = server.api.create('pods', object);
      return { uid: metadata.uid };
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
