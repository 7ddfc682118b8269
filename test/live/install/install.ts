/** Installs and removes Bailiff as docs/install.md does, with kustomize through kubectl. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../../tools/children.ts';
import { launch } from '../../support/process.ts';
import { type Access, componentPods } from '../cluster/facts.ts';
import { collectorCommand } from '../cluster/guard.ts';
import { isMissing } from '../cluster/stage.ts';
import { overlay, replicasFor } from './overlay.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const ROLLOUT_TIMEOUT_S = 600;
const GONE_TIMEOUT_MS = 180_000;
const WORKLOADS = [
  ...['statefulset/bailiff-nats', 'statefulset/bailiff-valkey', 'daemonset/bailiff-collector'],
  ...['bus-auth', 'correlator', 'responder', 'ipam-sync', 'siem-relay'].map((app) => `deployment/bailiff-${app}`),
];

/** Runs `work` with a copy of k8s/ that has the overlay of this run. */
async function withOverlay<T>(access: Access, nodes: number, work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-live-'));
  try {
    cpSync(path.join(ROOT, 'k8s'), dir, { recursive: true });
    const own = path.join(dir, 'overlays/live');
    mkdirSync(own);
    writeFileSync(path.join(own, 'kustomization.yaml'), overlay(access.options, nodes));
    return await work(own);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Creates the credentials of the bus, unless the directory has some. */
async function credentials(access: Access, replicas: number): Promise<void> {
  const { options } = access;
  if (existsSync(path.join(options.credentials, 'credentials.json'))) return;
  mkdirSync(path.dirname(path.resolve(options.credentials)), { recursive: true, mode: 0o700 });
  const flags = ['--out', options.credentials, '--replicas', String(replicas), '--namespace', options.namespace];
  await cli('credentials', 'init', ...flags);
}

/** Standard output of a command of the CLI. @throws Error with its standard error */
async function cli(...words: string[]): Promise<string> {
  const { exit, stdout, stderr } = launch(process.execPath, [...nodeArgs('apps/cli/src/main.ts'), ...words]);
  const [code] = await exit;
  if (code !== 0) throw new Error(`bailiff ${words.slice(0, 2).join(' ')}: exit ${code}: ${stderr()}`);
  return stdout();
}

/** @returns milliseconds from the apply to every workload being ready */
export async function install(access: Access, nodes: number): Promise<number> {
  const { kubectl, options } = access;
  if (options.namespace !== 'bailiff-system') throw new Error('--install: only the namespace bailiff-system');
  await credentials(access, replicasFor(nodes));
  await kubectl.run(['apply', '-f', path.join(ROOT, 'k8s/base/namespace.yaml')]);
  await kubectl.run(['apply', '-f', '-'], {
    input: await cli('credentials', 'render', '--out', options.credentials, '--kubernetes'),
  });
  const begin = performance.now();
  await withOverlay(access, nodes, (dir) => kubectl.run(['apply', '-k', dir]));
  for (const workload of WORKLOADS)
    await kubectl.run(['-n', options.namespace, 'rollout', 'status', workload, `--timeout=${ROLLOUT_TIMEOUT_S}s`], {
      timeoutMs: (ROLLOUT_TIMEOUT_S + 10) * 1000,
    });
  return performance.now() - begin;
}

/** Detaches all nodes, deletes everything. @returns cluster-scoped objects that are left */
export async function uninstall(access: Access, nodes: number): Promise<string[]> {
  const { kube, kubectl, options } = access;
  for (const { spec } of await componentPods(access, 'collector'))
    await collectorCommand(access, spec?.nodeName ?? '', 'detach', '--all');
  await withOverlay(access, nodes, (dir) =>
    kubectl.run(['delete', '--ignore-not-found', '-k', dir], { timeoutMs: GONE_TIMEOUT_MS }),
  );
  await waitFor(() => isMissing(kube.request({ path: `/api/v1/namespaces/${options.namespace}` })), {
    what: `namespace ${options.namespace} to be gone`,
    timeoutMs: GONE_TIMEOUT_MS,
    intervalMs: 500,
  });
  const kinds =
    'customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,priorityclasses';
  const all = (await kubectl.run(['get', kinds, '-o', 'name'])).split('\n');
  return all.filter((name) => /bailiff/.test(name));
}
