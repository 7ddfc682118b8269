/** What the suite runs on: versions, CNI, kernel, IP families. Shown first, and part of the report. */
import { execFileSync } from 'node:child_process';
import type { KubeClient, KubeList, Node, Pod } from '@bailiff/kube';
import type { Options } from '../flags.ts';
import type { Kubectl } from './kubectl.ts';

export interface Facts {
  date: string;
  commit: string;
  server: string;
  kubernetes: string;
  nodes: number;
  node: string;
  kernel: string;
  runtime: string;
  os: string;
  cni: string;
  ipFamilies: string[];
  nodeJs: string;
  images: string[];
}

type NodeWithInfo = Node & {
  status?: {
    nodeInfo?: { kernelVersion: string; containerRuntimeVersion: string; osImage: string; kubeletVersion: string };
  };
};

export interface Access {
  kube: KubeClient;
  kubectl: Kubectl;
  options: Options;
}

/** Rights that the suite needs beyond its own namespaces, as `kubectl auth can-i` words. */
const RIGHTS = [
  ['create', 'namespaces'],
  ['create', 'pods'],
  ['create', 'pods/exec'],
  ['create', 'pods/portforward'],
  ['delete', 'pods'],
  ['create', 'responsepolicies.bailiff.dev'],
] as const;

export interface Preflight {
  facts: Facts;
  problems: string[];
}

const labelOf = (component: string) => `app.kubernetes.io/component=${component}`;

/** Pods of Bailiff with a component label, those that are going away excluded. */
export async function componentPods({ kube, options }: Access, component: string): Promise<Pod[]> {
  const list = await kube.request<KubeList<Pod>>({
    path: `/api/v1/namespaces/${options.namespace}/pods`,
    query: { labelSelector: labelOf(component) },
  });
  return (list.items ?? []).filter(({ metadata }) => !metadata.deletionTimestamp);
}

/** Types of the CNI plugins of the newest attachment, from the collector's view of the node. */
const READ_CNI = `const fs=require('fs'),d='/var/lib/cni/results/';
const f=fs.readdirSync(d).map(n=>[fs.statSync(d+n).mtimeMs,n]).sort((a,b)=>b[0]-a[0])[0];
if(f){const r=JSON.parse(fs.readFileSync(d+f[1]));const c=JSON.parse(Buffer.from(r.config,'base64'));
console.log((c.plugins??[c]).map(p=>p.type).join('+'))}`;

export async function preflight(access: Access): Promise<Preflight> {
  const { kube, kubectl, options } = access;
  const problems: string[] = [];
  const version = await kube.request<{ gitVersion: string }>({ path: '/version' });
  const nodes = (await kube.request<KubeList<NodeWithInfo>>({ path: '/api/v1/nodes' })).items ?? [];
  for (const [verb, resource] of RIGHTS) {
    const answer = await kubectl.run(['auth', 'can-i', verb, resource, '-A']).catch((error: Error) => error.message);
    if (!/^(Warning:.*\n)*yes/.test(answer.trim())) problems.push(`no right to ${verb} ${resource}`);
  }
  const collectors = await componentPods(access, 'collector');
  const wanted = options.node || collectors[0]?.spec?.nodeName || nodes[0]?.metadata.name || '';
  const node = nodes.find(({ metadata }) => metadata.name === wanted);
  if (!node) problems.push(`no node ${wanted}`);
  const collector = collectors.find(({ spec }) => spec?.nodeName === wanted);
  if (!collector)
    problems.push(`no collector on ${wanted} (${labelOf('collector')} in ${options.namespace}): use --install`);
  const inCollector = async (...args: string[]) =>
    collector
      ? (await kubectl.run(['-n', options.namespace, 'exec', collector.metadata.name, '--', 'node', ...args])).trim()
      : 'unknown';
  const info = node?.status?.nodeInfo;
  const families = new Set((collectors[0]?.status?.podIPs ?? []).map(({ ip }) => (ip.includes(':') ? 'IPv6' : 'IPv4')));
  const containers = await imagesOf(access);
  const facts: Facts = {
    date: new Date().toISOString(),
    commit: execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      cwd: import.meta.dirname,
    }).trim(),
    server: options.kubeconfig,
    kubernetes: version.gitVersion,
    nodes: nodes.length,
    node: wanted,
    kernel: info?.kernelVersion ?? 'unknown',
    runtime: info?.containerRuntimeVersion ?? 'unknown',
    os: info?.osImage ?? 'unknown',
    cni: await inCollector('-e', READ_CNI).catch(() => 'unknown'),
    ipFamilies: [...families].sort(),
    nodeJs: await inCollector('--version'),
    images: containers,
  };
  return { facts, problems };
}

async function imagesOf(access: Access): Promise<string[]> {
  const list = await access.kube.request<KubeList<{ spec?: { containers?: { image?: string }[] } }>>({
    path: `/api/v1/namespaces/${access.options.namespace}/pods`,
  });
  const images = (list.items ?? []).flatMap(({ spec }) => (spec?.containers ?? []).map(({ image }) => image ?? ''));
  return [...new Set(images)].sort();
}
