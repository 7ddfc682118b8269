/**
 * The record that libcni keeps of each attachment (`cniCacheV1`) below /var/lib/cni/results, the
 * collector's first source of identity. Written field by field as containerd's libcni does, into
 * the lab node's own directory. Pure except write and remove.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { CniConfList } from './conf.ts';

export interface CniInterface {
  name: string;
  mac: string;
  /** Path of the network namespace; absent on the host side. */
  sandbox?: string;
}
export interface CniResult {
  cniVersion: string;
  interfaces: CniInterface[];
  ips: { address: string; interface?: number; gateway?: string }[];
  routes?: { dst: string; gw?: string }[];
  dns?: Record<string, unknown>;
}

export interface Attachment {
  conf: CniConfList;
  ifName: string;
  /** The sandbox's id. */
  containerId: string;
  podUid: string;
  podNamespace: string;
  podName: string;
  podAnnotations: Record<string, string>;
  /** Path that the kubelet passes to the runtime: /kubepods/burstable/pod<uid> */
  cgroupParent: string;
}

/** Arguments that a runtime passes to the plugins, in containerd's order. */
export function cniArgs(attachment: Attachment): [string, string][] {
  return [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAMESPACE', attachment.podNamespace],
    ['K8S_POD_NAME', attachment.podName],
    ['K8S_POD_INFRA_CONTAINER_ID', attachment.containerId],
    ['K8S_POD_UID', attachment.podUid],
  ];
}

export function cacheFileName(attachment: Pick<Attachment, 'conf' | 'containerId' | 'ifName'>): string {
  return `${attachment.conf.name}-${attachment.containerId}-${attachment.ifName}`;
}

export function cacheRecord(attachment: Attachment, result: CniResult): Record<string, unknown> {
  return {
    kind: 'cniCacheV1',
    containerId: attachment.containerId,
    config: Buffer.from(JSON.stringify(attachment.conf)).toString('base64'),
    ifName: attachment.ifName,
    networkName: attachment.conf.name,
    cniArgs: cniArgs(attachment),
    capabilityArgs: {
      'io.kubernetes.cri.pod-annotations': attachment.podAnnotations,
      cgroupPath: attachment.cgroupParent,
    },
    result,
  };
}

/** Written in place without rename, as libcni does: readers must accept a partial file. */
export async function writeCacheRecord(dir: string, attachment: Attachment, result: CniResult): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const text = JSON.stringify(cacheRecord(attachment, result));
  await writeFile(path.join(dir, cacheFileName(attachment)), text, { mode: 0o600 });
}

export async function removeCacheRecord(dir: string, attachment: Attachment): Promise<void> {
  await rm(path.join(dir, cacheFileName(attachment)), { force: true });
}

export interface PodSide {
  mac: string;
  addresses: string[];
  hostInterface: string;
  /** MAC of the pod's gateway: the bridge, or with ptp the host side of its veth. */
  gatewayMac: string;
  /** In the order of `addresses`. */
  gateways: string[];
}

/** The parts of a result that the lab uses. @throws Error if the result has no pod interface */
export function podSide(result: CniResult): PodSide {
  const index = result.interfaces.findIndex((entry) => entry.sandbox);
  const inside = result.interfaces[index];
  // The bridge plugin lists the bridge, then the veth; ptp lists only the veth.
  const outside = result.interfaces.filter((entry) => !entry.sandbox);
  const [first] = outside;
  const last = outside.at(-1);
  if (!inside || !first || !last) throw new Error(`no pod interface in ${JSON.stringify(result)}`);
  const own = result.ips.filter((ip) => ip.interface === undefined || ip.interface === index);
  return {
    mac: inside.mac,
    addresses: own.map((ip) => ip.address.replace(/\/\d+$/, '')),
    hostInterface: last.name,
    gatewayMac: first.mac,
    gateways: own.map((ip) => ip.gateway ?? ''),
  };
}
