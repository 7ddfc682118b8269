// The API stand-in and, if KUBEBUILDER_ASSETS names one, a real API server, with stock kubectl:
// targets for manifests.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { accountUser, startApiServer, type TokenUser } from '@bailiff/lab/apiserver';
import { type Access, ApiClient, type Json } from './client.ts';
import { Kubectl } from './kubectl.ts';
import { startRealApiServer } from './real.ts';

export interface Account {
  namespace: string;
  name: string;
}

/** An account at the server. */
export interface Seat {
  client: ApiClient;
  kubeconfig: string;
}

export interface KubectlTarget extends AsyncDisposable {
  isReal: boolean;
  /** As an administrator. */
  kubectl: Kubectl;
  client: ApiClient;
  kubeconfig: string;
  /**
   * Strict, except for servers older than the manifests require (docs/install.md): these lack some
   * fields.
   */
  validate: string;
  /**
   * An existing service account; at the stand-in one of the accounts given to `start`, with every
   * right.
   */
  as(account: Account): Promise<Seat>;
}

export interface KubectlTargetKind {
  name: string;
  /**
   * The stand-in has no RBAC and gets its accounts at the start; a real server needs their objects.
   */
  start(accounts?: readonly Account[]): Promise<KubectlTarget>;
}

export const START_TIMEOUT_MS = 120_000;

/** As an operator applies objects from a pipe; `more` are arguments for kubectl. */
export const applyObjects = ({ kubectl, validate }: KubectlTarget, objects: readonly Json[], ...more: string[]) =>
  kubectl.run(['apply', validate, ...more, '-f', '-'], objects.map((object) => JSON.stringify(object)).join('\n'));

/** The stand-in first. */
export function kubectlTargets(environment: NodeJS.ProcessEnv): KubectlTargetKind[] {
  const assets = environment['KUBEBUILDER_ASSETS'];
  return [
    { name: 'the stand-in', start: standIn },
    ...(assets ? [{ name: 'kube-apiserver', start: () => real(assets) }] : []),
  ];
}

/** The reason why there is no real server. */
export const NO_REAL = 'optional: none is named; set KUBEBUILDER_ASSETS';

const userOf = ({ namespace, name }: Account) => accountUser(namespace, name);

async function standIn(accounts: readonly Account[] = []): Promise<KubectlTarget> {
  const dir = await mkdtemp(path.join(tmpdir(), 'bailiff-manifests-'));
  const tokens: TokenUser[] = [
    { user: 'admin', token: 'admin-token', groups: ['system:masters'] },
    ...accounts.map((account, index) => ({ user: userOf(account), token: `account-token-${index}` })),
  ];
  const server = await startApiServer({ certDir: dir, tokens });
  const ca = await readFile(server.caFile, 'utf8');
  const client = (user: string) => new ApiClient({ url: server.url, ca, token: server.token(user) });
  return {
    isReal: false,
    kubectl: new Kubectl(server.kubeconfigPath('admin'), path.join(dir, 'cache')),
    client: client('admin'),
    kubeconfig: server.kubeconfigPath('admin'),
    validate: '--validate=strict',
    as: async (account) => ({
      client: client(userOf(account)),
      kubeconfig: server.kubeconfigPath(userOf(account)),
    }),
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function real(assets: string): Promise<KubectlTarget> {
  const [server, dir] = [await startRealApiServer(assets), await mkdtemp(path.join(tmpdir(), 'bailiff-manifests-'))];
  const seat = async (name: string, token: string): Promise<Seat> => {
    const access: Access = { ...server.access, token };
    const kubeconfig = path.join(dir, `${name}.kubeconfig`);
    await writeFile(kubeconfig, JSON.stringify(kubeconfigOf(access)), { mode: 0o600 });
    return { client: new ApiClient(access), kubeconfig };
  };
  const admin = await seat('admin', server.access.token as string);
  const kubectl = new Kubectl(admin.kubeconfig, path.join(dir, 'cache'));
  const version = JSON.parse(await kubectl.ok('get', '--raw', '/version'));
  return {
    isReal: true,
    kubectl,
    client: admin.client,
    kubeconfig: admin.kubeconfig,
    validate: Number.parseInt(version.minor, 10) >= 30 ? '--validate=strict' : '--validate=warn',
    as: async ({ namespace, name }) =>
      seat(`${namespace}-${name}`, (await kubectl.ok('create', 'token', name, '-n', namespace)).trim()),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const kubeconfigOf = ({ url, token }: Access) => ({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'real', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
  users: [{ name: 'user', user: { token } }],
  contexts: [{ name: 'real', context: { cluster: 'real', user: 'user' } }],
  'current-context': 'real',
});
