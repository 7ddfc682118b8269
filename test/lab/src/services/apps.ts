/**
 * Start commands of Bailiff's apps in a lab: the bundle of the image with the identity of its role.
 * Collectors run in their node's network namespace and reach the bus through the node's relay; the
 * others run beside the servers on the host's loopback.
 */
import { nodeFlagsOf } from '../../../../tools/node-flags.ts';
import { NODE_NATS_URL } from '../net/relay.ts';
import type { NodePlan } from '../plan.ts';
import { type AppName, appBundle, POD_ENDS } from './build.ts';
import { isReadyLine } from './children.ts';
import type { BusCredential, CalloutSeeds } from './credentials.ts';
import type { ChildRequest } from './start-child.ts';

/** The kernel chooses the port of the metrics; the app's log contains it. */
const METRICS = '127.0.0.1:0';
/**
 * Readiness and `bailiff status` read the status: twice per second instead of every ten seconds.
 */
const STATUS_INTERVAL_MS = '500';

function app(name: AppName, child: string, flags: readonly string[]): ChildRequest {
  return {
    name: child,
    command: process.execPath,
    args: [...nodeFlagsOf(name), appBundle(name), ...flags, '--metrics-address', METRICS],
    isReady: isReadyLine,
  };
}

const busFlags = (natsUrl: string, credential: BusCredential) => [
  '--nats-url',
  natsUrl,
  '--nats-user',
  credential.user,
  ...(credential.passwordFile ? ['--nats-password-file', credential.passwordFile] : []),
  ...(credential.tokenFile ? ['--nats-token-file', credential.tokenFile] : []),
];

/** The other apps use only the bus. */
export function needsKubernetes(name: AppName): name is 'responder' | 'ipam-sync' | 'bus-auth' {
  return name === 'responder' || name === 'ipam-sync' || name === 'bus-auth';
}

export interface ClusterTargets {
  natsUrl: string;
  redisUrl: string;
  kubeconfig: string;
  /** For bus-auth only. */
  seeds?: CalloutSeeds;
}

export function clusterAppRequest(
  name: Exclude<AppName, 'collector'>,
  credential: BusCredential,
  targets: ClusterTargets,
): ChildRequest {
  const flags = busFlags(targets.natsUrl, credential);
  if (name === 'siem-relay') flags.push('--formats', 'ocsf,ecs,cef');
  if (needsKubernetes(name)) flags.push('--kubeconfig', targets.kubeconfig);
  if (name === 'bus-auth' && targets.seeds) {
    flags.push('--issuer-seed-file', targets.seeds.issuerFile, '--xkey-seed-file', targets.seeds.xkeyFile);
  }
  if (name === 'responder') flags.push('--redis-url', targets.redisUrl);
  return app(name, name, flags);
}

export const collectorChildName = (node: NodePlan) => `collector-${node.name}`;

export function collectorRequest(
  node: NodePlan,
  credential: BusCredential,
  options: { cgroupRoot: string; observeOnly: boolean },
): ChildRequest {
  const flags = [
    '--node-name',
    node.name,
    ...busFlags(NODE_NATS_URL, credential),
    '--cni-results-dir',
    node.cniResultsDir,
    '--cgroup-root',
    options.cgroupRoot,
    '--bpf-dir',
    node.bpfDir,
    '--state-dir',
    node.stateDir,
    '--status-interval-ms',
    STATUS_INTERVAL_MS,
    ...(options.observeOnly ? ['--observe-only'] : ['--pod-ends', 'on']),
  ];
  return { ...app('collector', collectorChildName(node), flags), netns: node.netns };
}

/** Beside each collector, as on a node of Kubernetes. */
export function podEndsRequest(node: NodePlan): ChildRequest {
  return { name: `pod-ends-${node.name}`, command: POD_ENDS, args: ['--pins', node.bpfDir], netns: node.netns };
}
