/**
 * The first objects that the lab creates at the API server: nodes, definitions of custom resources,
 * and the Deployment and ReplicaSet that own the pods. Manifests are pure.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { KubeApi, KubeObject } from '@bailiff/kube';
import { parse } from 'yaml';
import type { OwnerTarget } from '../kubelet/replicas.ts';
import { wholeSeconds } from '../kubelet/status.ts';
import { CHECKOUT } from '../names.ts';
import type { LabPlan, NodePlan } from '../plan.ts';

export const POD_NAMESPACE = 'default';
const APP_NAME = 'web';
/** For display only: the lab pulls no image, and its helper runs as the container. */
const IMAGE = 'bailiff.dev/lab/web:1';
const LABELS = { app: APP_NAME, 'pod-template-hash': '5d4f8c7b9' };

export function nodeManifest(node: NodePlan, now: string): Record<string, unknown> {
  const at = wholeSeconds(now);
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: node.name,
      labels: { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux' },
    },
    spec: { podCIDR: node.podCidr4, podCIDRs: [node.podCidr4, node.podCidr6] },
    status: {
      addresses: [
        { type: 'InternalIP', address: node.address4 },
        { type: 'InternalIP', address: node.address6 },
        { type: 'Hostname', address: node.name },
      ],
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          reason: 'KubeletReady',
          message: 'the lab runs this node',
          lastHeartbeatTime: at,
          lastTransitionTime: at,
        },
      ],
      nodeInfo: { kubeletVersion: 'v1.32.0-lab', operatingSystem: 'linux', architecture: 'amd64' },
    },
  };
}

export function deploymentManifest(replicas: number): Record<string, unknown> {
  const { app } = LABELS;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: APP_NAME, namespace: POD_NAMESPACE, labels: { app } },
    spec: { replicas, selector: { matchLabels: { app } }, template: podTemplate({ app }) },
  };
}

export function replicaSetManifest(replicas: number, deployment: { name: string; uid: string }) {
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${APP_NAME}-${LABELS['pod-template-hash']}`,
      namespace: POD_NAMESPACE,
      labels: LABELS,
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'Deployment', ...deployment, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: { replicas, selector: { matchLabels: LABELS }, template: podTemplate(LABELS) },
  };
}

const podTemplate = (labels: Record<string, string>) => ({
  metadata: { labels },
  spec: { containers: [{ name: APP_NAME, image: IMAGE }] },
});

/** Installs the shipped definitions of custom resources. */
async function installCrds(api: KubeApi): Promise<void> {
  const directory = path.join(CHECKOUT, 'k8s/crds');
  // The folder also contains the file of kustomize.
  const files = (await readdir(directory)).filter((file) => file !== 'kustomization.yaml');
  for (const file of files) {
    const body = parse(await readFile(path.join(directory, file), 'utf8'));
    await api.request({ verb: 'POST', path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', body });
  }
}

/** Creates the objects; returns the owner of the pods that the lab creates later. */
export async function createObjects(api: KubeApi, plan: LabPlan, now: string): Promise<OwnerTarget> {
  await Promise.all(
    plan.nodes.map((node) => api.request({ verb: 'POST', path: '/api/v1/nodes', body: nodeManifest(node, now) })),
  );
  // Namespace of ipam-sync's Lease, as in an installation.
  await api.request({
    verb: 'POST',
    path: '/api/v1/namespaces',
    body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bailiff-system' } },
  });
  await installCrds(api);
  const replicas = plan.options.podsPerNode * plan.nodes.length;
  const at = `/apis/apps/v1/namespaces/${POD_NAMESPACE}`;
  const create = (plural: string, body: unknown) =>
    api.request<KubeObject>({ verb: 'POST', path: `${at}/${plural}`, body });
  const deployment = await create('deployments', deploymentManifest(replicas));
  const { name, uid } = deployment.metadata;
  const replicaSet = await create('replicasets', replicaSetManifest(replicas, { name, uid }));
  return {
    namespace: POD_NAMESPACE,
    replicaSet: { name: replicaSet.metadata.name, uid: replicaSet.metadata.uid },
    deployment: { name },
    labels: LABELS,
    image: IMAGE,
  };
}
