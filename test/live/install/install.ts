/** Bailiff as a release of Helm: installs, changes and removes it as docs/install.md does. */
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { CHART, helmProgram } from '../../../tools/helm.ts';
import { type Access, componentPods } from '../cluster/facts.ts';
import { collectorCommand } from '../cluster/guard.ts';
import { runProgram } from '../cluster/kubectl.ts';
import { isMissing } from '../cluster/stage.ts';
import { chartValues, profilesFor } from './values.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const RELEASE = 'bailiff';
const TIMEOUT_MINUTES = 10;
const GONE_TIMEOUT_MS = 180_000;
const GC_TIMEOUT_MS = 20_000;
const WAIT = ['--wait', '--wait-for-jobs', '--timeout', `${TIMEOUT_MINUTES}m`];

async function helm({ options }: Access, args: readonly string[], input = ''): Promise<string> {
  const { kubeconfig, context, namespace } = options;
  const cluster = ['--kubeconfig', kubeconfig, ...(context ? ['--kube-context', context] : []), '-n', namespace];
  // Each hook and the wait at the end have the timeout.
  const timeoutMs = 3 * TIMEOUT_MINUTES * 60_000;
  return runProgram(helmProgram() ?? 'helm', [...args, ...cluster], { input, timeoutMs });
}

/** Whether Bailiff was installed by Helm in the namespace of the flags. */
export async function isRelease(access: Access): Promise<boolean> {
  const releases = JSON.parse(await helm(access, ['list', '--output', 'json'])) as { name: string }[];
  return releases.some(({ name }) => name === RELEASE);
}

/** @returns milliseconds from `helm install` to every workload being ready */
export async function install(access: Access, nodes: number): Promise<number> {
  const { kubectl, options } = access;
  const metadata = { name: options.namespace, labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata };
  await kubectl.run(['apply', '-f', '-'], { input: JSON.stringify(namespace) });
  const profiles = profilesFor(nodes).map((name) => path.join(CHART, 'profiles', `${name}.yaml`));
  const values = [...profiles, '-', ...options.values].flatMap((file) => ['--values', file]);
  const settings = options.set.flatMap((setting) => ['--set', setting]);
  const begin = performance.now();
  const input = JSON.stringify(chartValues(options, nodes));
  await helm(access, ['install', RELEASE, CHART, ...values, ...settings, ...WAIT], input);
  return performance.now() - begin;
}

/** Changes values of the release, and waits until its workloads are ready. */
export async function upgrade(access: Access, settings: readonly string[]): Promise<void> {
  const set = settings.flatMap((setting) => ['--set', setting]);
  await helm(access, ['upgrade', RELEASE, CHART, '--reset-then-reuse-values', ...set, ...WAIT]);
}

export async function rollback(access: Access): Promise<void> {
  await helm(access, ['rollback', RELEASE, ...WAIT]);
}

/** What a release creates. Volumes and the Lease of ipam-sync go with the namespace. */
const NAMESPACED = [
  ...['all', 'secrets', 'configmaps', 'serviceaccounts', 'roles', 'rolebindings', 'networkpolicies'],
  ...['endpointslices', 'poddisruptionbudgets', 'resourcequotas', 'controllerrevisions'],
];
const CLUSTER_SCOPED = [
  ...['customresourcedefinitions', 'clusterroles', 'clusterrolebindings', 'priorityclasses'],
  ...['validatingadmissionpolicies', 'validatingadmissionpolicybindings'],
];

/** Detaches all nodes, deletes everything. @returns objects that are left */
export async function uninstall(access: Access): Promise<string[]> {
  const { kube, kubectl, options } = access;
  if (!(await isRelease(access))) throw new Error(`no release ${RELEASE} of Helm in ${options.namespace}`);
  const { cni } = JSON.parse(await helm(access, ['get', 'values', RELEASE, '--all', '--output', 'json']));
  if (cni.enabled) await upgrade(access, ['cni.enabled=false', 'cni.uninstall=force']);
  for (const { spec } of await componentPods(access, 'collector'))
    await collectorCommand(access, spec?.nodeName ?? '', 'detach', '--all');
  await helm(access, ['uninstall', RELEASE, '--wait', '--timeout', `${TIMEOUT_MINUTES}m`]);
  const left = await leftIn(access, NAMESPACED, ['-n', options.namespace]);
  await kubectl.run(['-n', options.namespace, 'delete', 'pvc', '--all'], { timeoutMs: GONE_TIMEOUT_MS });
  await kubectl.run(['delete', '--ignore-not-found', '-k', path.join(ROOT, 'k8s/crds')]);
  await kubectl.run(['delete', 'namespace', options.namespace], { timeoutMs: GONE_TIMEOUT_MS });
  await waitFor(() => isMissing(kube.request({ path: `/api/v1/namespaces/${options.namespace}` })), {
    what: `namespace ${options.namespace} to be gone`,
    timeoutMs: GONE_TIMEOUT_MS,
    intervalMs: 500,
  });
  return [...left, ...(await leftIn(access, CLUSTER_SCOPED))];
}

/** Objects of Bailiff that are there when nothing goes away any more. */
async function leftIn({ kubectl }: Access, kinds: readonly string[], flags: readonly string[] = []): Promise<string[]> {
  const read = async () =>
    (await kubectl.run([...flags, 'get', kinds.join(','), '-o', 'name']))
      .split('\n')
      .filter((one) => /bailiff/.test(one));
  // The garbage collector of Kubernetes deletes what others own some seconds later.
  await waitFor(read, {
    what: 'deleted objects to be gone',
    timeoutMs: GC_TIMEOUT_MS,
    until: (one) => one.length === 0,
  }).catch(() => undefined);
  return read();
}
