/** Pods with the agent, and requests to it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { linkLocalOfMac } from '@bailiff/bpf';
import { apiPath, type KubeApi, type Pod } from '@bailiff/kube';
import type { Scene } from '@bailiff/lab/attack';
import { waitFor } from '@bailiff/service/testing';
import { create } from '../cluster/create.ts';
import type { Kubectl } from '../cluster/kubectl.ts';

export const AGENT_SOURCE = readFileSync(path.join(import.meta.dirname, 'agent.py'), 'utf8');
export const AGENT_CONFIG = 'live-agent';

/** Packets as the pod's interface counts them. */
export interface InterfaceCounters {
  tx_packets: number;
  tx_dropped: number;
}
export interface SendReport extends InterfaceCounters {
  sent: number[];
  running: boolean;
  error: string | null;
}
export interface CountReport {
  counts: Record<string, number>;
  missed: number;
}
interface Info extends InterfaceCounters {
  interface: string;
  mac: string;
  first: ({ sent: number } & InterfaceCounters) | null;
}

export interface AgentPodSpec {
  namespace: string;
  name: string;
  node: string;
  image: string;
  labels?: Record<string, string>;
  env?: Record<string, string>;
  /** Directories of the node, mounted read only below /host. */
  hostPaths?: readonly string[];
  /** The pod sends its first packets and ends; its status has the report. */
  isOnce?: boolean;
}

const STARTUP_PROBE = {
  exec: { command: ['test', '-S', '/tmp/bailiff-live.sock'] },
  periodSeconds: 1,
  failureThreshold: 120,
};

/** The pod's spec with the agent as main process, for pods and for templates. */
export function agentPodSpec({
  node,
  image,
  env = {},
  hostPaths = [],
  isOnce = false,
}: Omit<AgentPodSpec, 'namespace' | 'name' | 'labels'>) {
  return {
    ...(node ? { nodeName: node } : {}),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 1,
    ...(isOnce ? { restartPolicy: 'Never' } : {}),
    containers: [
      {
        name: 'agent',
        image,
        command: ['python3', '/agent/agent.py', isOnce ? 'once' : 'serve'],
        env: Object.entries(env).map(([name, value]) => ({ name, value })),
        // Not a readiness probe: it would start a process in every pod each second.
        ...(isOnce ? {} : { startupProbe: STARTUP_PROBE }),
        // Added capabilities are effective for uid 0 only.
        securityContext: {
          runAsUser: 0,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'], add: ['NET_RAW'] },
        },
        resources: { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '256Mi' } },
        volumeMounts: [
          { name: 'agent', mountPath: '/agent', readOnly: true },
          ...hostPaths.map((dir, index) => ({ name: `host-${index}`, mountPath: `/host${dir}`, readOnly: true })),
        ],
      },
    ],
    volumes: [
      { name: 'agent', configMap: { name: AGENT_CONFIG } },
      ...hostPaths.map((dir, index) => ({ name: `host-${index}`, hostPath: { path: dir } })),
    ],
  };
}

export async function createAgentPod(kube: KubeApi, spec: AgentPodSpec): Promise<void> {
  const { namespace, name, labels = {} } = spec;
  await create(kube, apiPath`/api/v1/namespaces/${namespace}/pods`, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name, ...labels } },
    spec: agentPodSpec(spec),
  });
}

const isReady = (pod: Pod | null) =>
  pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') &&
  (pod.status.podIPs?.length ?? 0) > 0;

const addressOf = (pod: Pod, isV6: boolean) =>
  pod.status?.podIPs?.find(({ ip }) => ip.includes(':') === isV6)?.ip ?? '';

/** A ready pod with the agent. */
export class AgentPod {
  readonly kubectl: Kubectl;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly ip4: string;
  readonly ip6: string;

  constructor(kubectl: Kubectl, pod: Pod) {
    this.kubectl = kubectl;
    this.namespace = pod.metadata.namespace ?? '';
    this.name = pod.metadata.name;
    this.uid = pod.metadata.uid;
    this.node = pod.spec?.nodeName ?? '';
    this.ip4 = addressOf(pod, false);
    this.ip6 = addressOf(pod, true);
  }

  static async ready(
    { kube, kubectl }: { kube: KubeApi; kubectl: Kubectl },
    namespace: string,
    name: string,
    { timeoutMs = 120_000, notUid = '' } = {},
  ): Promise<AgentPod> {
    const read = () => kube.request<Pod>({ path: apiPath`/api/v1/namespaces/${namespace}/pods/${name}` });
    const pod = await waitFor(read, {
      what: `pod ${namespace}/${name} to become ready`,
      timeoutMs,
      intervalMs: 300,
      until: (one) => Boolean(isReady(one)) && one.metadata.uid !== notUid,
    });
    return new AgentPod(kubectl, pod);
  }

  /** One request to the agent. @throws Error with the agent's own error */
  async call<T>(request: object): Promise<T> {
    const command = ['-n', this.namespace, 'exec', '-i', this.name, '-c', 'agent', '--'];
    const text = await this.kubectl.run([...command, 'python3', '/agent/agent.py', 'call'], {
      input: JSON.stringify(request),
    });
    const reply = JSON.parse(text) as T & { failed?: string };
    if (reply.failed !== undefined) throw new Error(`agent of ${this.namespace}/${this.name}: ${reply.failed}`);
    return reply;
  }

  info = () => this.call<Info>({ op: 'info' });
  counts = () => this.call<CountReport>({ op: 'counts' });
  watch = (markers: readonly Buffer[]) =>
    this.call<CountReport>({ op: 'watch', markers: markers.map((marker) => marker.toString('hex')) });

  /** Sends each frame `count` times and waits for the end. @throws Error if the socket failed */
  async send(frames: readonly Buffer[], count: number, rate = 1_000): Promise<number[]> {
    const hex = frames.map((frame) => frame.toString('hex'));
    const report = await this.call<SendReport>({ op: 'send', job: 'send', frames: hex, count, rate });
    if (report.error) throw new Error(`agent of ${this.namespace}/${this.name}: ${report.error}`);
    return report.sent;
  }
}

/** Addresses and next hops of an attack between three pods; empty text for a missing IP family. */
export async function sceneOf(
  attacker: AgentPod,
  victim: AgentPod,
  claimed: AgentPod,
): Promise<{ scene: Scene; isShared: boolean }> {
  const addresses = [victim.ip4, victim.ip6].filter(Boolean);
  const outside = [...(victim.ip4 ? ['192.0.2.1'] : []), ...(victim.ip6 ? ['2001:db8::1'] : [])];
  const { mac } = await attacker.info();
  const hops = await attacker.call<Record<string, { nextHop: string; mac: string | null }>>({
    op: 'resolve',
    addresses: [...addresses, ...outside],
  });
  const toMac = addresses.map((address) => hops[address]?.mac).find(Boolean);
  if (!toMac) throw new Error(`${attacker.name} knows no next hop towards ${addresses.join(', ')}`);
  const gateway = (address: string) => hops[address]?.nextHop ?? '';
  const scene = {
    mac,
    ip4: attacker.ip4,
    ip6: attacker.ip6,
    linkLocal: linkLocalOfMac(mac),
    toMac,
    victim4: victim.ip4,
    victim6: victim.ip6,
    gateway4: gateway('192.0.2.1'),
    gateway6: gateway('2001:db8::1'),
    claimed4: claimed.ip4,
    claimed6: claimed.ip6,
    claimed: claimed.name,
  };
  return { scene, isShared: addresses.every((address) => hops[address]?.nextHop === address) };
}
