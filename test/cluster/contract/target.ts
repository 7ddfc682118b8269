// The targets of the contract suite: the stand-in, and a real API server if the environment names
// one. KUBEBUILDER_ASSETS is a directory with `kube-apiserver` and `etcd`, which are started for
// the run. BAILIFF_CONTRACT=1 with KUBECONFIG uses an existing cluster: the suite then creates its
// own namespaces and does not change nodes. Real targets have no fault injection.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApiServer } from '@bailiff/lab/apiserver';
import { KubeConfig } from '@kubernetes/client-node';
import { type Access, ApiClient } from './client.ts';
import { startRealApiServer } from './real.ts';

export interface Target extends AsyncDisposable {
  name: string;
  client: ApiClient;
  /** The suite may create and delete nodes. */
  ownNodes: boolean;
  /** Controllers run pods and update budgets, so objects change without the test. */
  controllers: boolean;
}

export interface TargetKind {
  name: string;
  start(): Promise<Target>;
}

/** The stand-in first, then those of the environment. */
export function targetKinds(environment: NodeJS.ProcessEnv): TargetKind[] {
  const kinds: TargetKind[] = [{ name: 'the stand-in', start: startStandIn }];
  const assets = environment['KUBEBUILDER_ASSETS'];
  if (assets) kinds.push({ name: 'kube-apiserver', start: () => startBinaries(assets) });
  else if (environment['BAILIFF_CONTRACT'] === '1' && environment['KUBECONFIG']) {
    kinds.push({ name: 'the cluster of KUBECONFIG', start: useKubeconfig });
  }
  return kinds;
}

async function startStandIn(): Promise<Target> {
  const certDir = await mkdtemp(join(tmpdir(), 'bailiff-contract-'));
  const server = await startApiServer({ certDir, bookmarkIntervalMs: 500 });
  const client = new ApiClient({ url: server.url, ca: await caOf(server.caFile), token: server.token() });
  return {
    name: 'the stand-in',
    client,
    ownNodes: true,
    controllers: false,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await rm(certDir, { recursive: true, force: true });
    },
  };
}

async function caOf(file: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  return readFile(file, 'utf8');
}

async function startBinaries(assets: string): Promise<Target> {
  const server = await startRealApiServer(assets);
  return {
    name: 'kube-apiserver',
    client: new ApiClient(server.access),
    ownNodes: true,
    controllers: false,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function useKubeconfig(): Promise<Target> {
  const config = new KubeConfig();
  config.loadFromDefault();
  const options: { [key: string]: unknown } = {};
  await config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
  const text = (value: unknown) => (value === undefined ? undefined : String(value));
  const access: Access = {
    url: config.getCurrentCluster()!.server,
    ca: text(options['ca']),
    cert: text(options['cert']),
    key: text(options['key']),
    token: config.getCurrentUser()?.token,
  };
  return {
    name: 'the cluster of KUBECONFIG',
    client: new ApiClient(access),
    ownNodes: false,
    controllers: true,
    [Symbol.asyncDispose]: async () => {},
  };
}
