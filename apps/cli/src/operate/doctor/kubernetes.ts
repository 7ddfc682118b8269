/**
 * Checks of the API server: reachable, and permissions of this identity for the work of ipam-sync
 * and responder.
 */
import { type Access, type KubeClient, loadKube, mayAccess } from '@bailiff/kube';
import { EXIT, exitCodeOf } from '@bailiff/service';
import type { CliIo } from '../../shared/io.ts';
import { type Finding, fail, type Group, notChecked, ok, warn } from './finding.ts';

const TIMEOUT_MS = 5_000;

/** The most powerful permissions that the components use. */
const WANTED: readonly Access[] = [
  { verb: 'list', resource: 'pods' },
  { verb: 'watch', resource: 'pods' },
  { verb: 'list', resource: 'nodes' },
  { verb: 'patch', resource: 'pods' },
  { verb: 'delete', resource: 'pods' },
  { verb: 'create', resource: 'pods', subresource: 'eviction' },
  { verb: 'create', resource: 'events' },
  { verb: 'patch', resource: 'nodes' },
  { verb: 'create', group: 'networking.k8s.io', resource: 'networkpolicies' },
  { verb: 'update', group: 'coordination.k8s.io', resource: 'leases' },
];

const permissionText = ({ verb, resource, subresource }: Access) =>
  `${verb} ${resource}${subresource ? `/${subresource}` : ''}`;

async function checkPermissions(client: KubeClient, signal: AbortSignal): Promise<Finding[]> {
  const request = { timeoutMs: TIMEOUT_MS, attempts: 1, signal };
  const { gitVersion } = await client.request<{ gitVersion: string }>({ path: '/version', ...request });
  const may = await Promise.all(WANTED.map((wanted) => mayAccess(client, wanted, request)));
  const denied = WANTED.filter((_, index) => !may[index]).map(permissionText);
  return [
    ok('API server', gitVersion),
    denied.length === 0
      ? ok('rights', 'all permissions of ipam-sync and the responder')
      : warn(
          'rights',
          `this identity may not ${denied.join(', ')}`,
          'ipam-sync needs the read permissions, the responder the write permissions, each as its own identity',
        ),
  ];
}

export async function kubernetesGroup({ signal }: Pick<CliIo, 'signal'>, kubeconfig: string | null): Promise<Group> {
  if (!kubeconfig) {
    const finding = notChecked('no kubeconfig', '--kubeconfig <file>, or KUBECONFIG');
    return { title: 'Kubernetes', findings: [finding] };
  }
  const findings: Finding[] = [];
  let client: KubeClient | null = null;
  try {
    client = loadKube({ kubeconfig, userAgent: 'bailiff-cli' });
    findings.push(...(await checkPermissions(client, signal)));
  } catch (error) {
    signal.throwIfAborted();
    const { message, cause } = error as Error;
    const detail =
      cause instanceof Error && !message.includes(cause.message) ? `${message}: ${cause.message}` : message;
    const exitCode = exitCodeOf(error);
    findings.push(
      fail(
        'API server',
        detail,
        `check: kubectl --kubeconfig ${kubeconfig} get nodes`,
        exitCode === EXIT.bug ? EXIT.dependencyUnreachable : exitCode,
      ),
    );
  } finally {
    client?.close();
  }
  return { title: `Kubernetes (${kubeconfig})`, findings };
}
