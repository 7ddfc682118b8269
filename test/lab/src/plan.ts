/**
 * Plan of a lab: nodes, addresses, directories. Pure; building, running and removing follow it. The
 * address ranges exist only in the lab's namespaces, so every lab uses the same ones.
 */
import path from 'node:path';
import { LabError } from './errors.ts';
import { cgroupName, fabricNetns, LABS_DIR, nodeName, nodeNetns } from './names.ts';

export const CNI_PLUGINS = ['bridge', 'ptp'] as const;
export type CniPlugin = (typeof CNI_PLUGINS)[number];

/** The third byte of 10.244.x.0/24 is the node's number. */
export const MAX_NODES = 64;
/** A /24 without network, broadcast and gateway. */
export const MAX_PODS_PER_NODE = 250;

export interface LabOptions {
  nodes: number;
  podsPerNode: number;
  cni: CniPlugin;
  /** Everything runs without attached programs: the control run. */
  unguarded: boolean;
  /** Responses are executed, not dry runs. */
  enforce: boolean;
  /** Deleted pods are replaced, as by a ReplicaSet. */
  replace: boolean;
  /** The siem-relay runs as well. */
  siem: boolean;
  /** Collectors log in to the bus with a ServiceAccount token, checked by bus-auth. */
  busAuth: boolean;
}

export const DEFAULT_OPTIONS: LabOptions = {
  nodes: 2,
  podsPerNode: 3,
  cni: 'bridge',
  unguarded: false,
  enforce: false,
  replace: true,
  siem: false,
  busAuth: false,
};

export interface NodePlan {
  index: number;
  name: string;
  netns: string;
  /** On the fabric, without prefix length. */
  address4: string;
  address6: string;
  podCidr4: string;
  podCidr6: string;
  /** Directory of this node: CNI results, address leases, bpffs, collector state. */
  dir: string;
  cniResultsDir: string;
  ipamDir: string;
  bpfDir: string;
  stateDir: string;
  /** Below the lab's own cgroup, relative to the cgroup2 mount. */
  cgroup: string;
}

export interface LabPlan {
  id: string;
  dir: string;
  options: LabOptions;
  fabricNetns: string;
  /** Relative to the cgroup2 mount; all processes of the lab live below it. */
  cgroup: string;
  nodes: NodePlan[];
}

/** Length of a node's prefix on the fabric. */
export const FABRIC_PREFIX4 = 24;
export const FABRIC_PREFIX6 = 64;

/** @throws LabError LAB_USAGE when a count is out of bounds */
export function checkOptions(options: LabOptions): void {
  const within = (value: number, max: number, min: number, what: string) => {
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new LabError('LAB_USAGE', `${what} must be a whole number from ${min} to ${max}, not ${value}`);
    }
  };
  within(options.nodes, MAX_NODES, 1, '--nodes');
  within(options.podsPerNode, MAX_PODS_PER_NODE, 0, '--pods');
}

/** @throws LabError LAB_USAGE when a count is out of bounds */
export function planLab(id: string, options: LabOptions, labsDir = LABS_DIR): LabPlan {
  checkOptions(options);
  const dir = path.join(labsDir, id);
  const cgroup = cgroupName(id);
  const nodes = Array.from({ length: options.nodes }, (_, index): NodePlan => {
    const name = nodeName(index, options.nodes);
    const nodeDir = path.join(dir, 'nodes', name);
    return {
      index,
      name,
      netns: nodeNetns(id, index),
      address4: `10.250.0.${index + 1}`,
      address6: `fd00:10:250::${(index + 1).toString(16)}`,
      podCidr4: `10.244.${index}.0/24`,
      podCidr6: `fd00:10:244:${index.toString(16)}::/64`,
      dir: nodeDir,
      cniResultsDir: path.join(nodeDir, 'cni', 'results'),
      ipamDir: path.join(nodeDir, 'cni', 'networks'),
      bpfDir: path.join(nodeDir, 'bpf'),
      stateDir: path.join(nodeDir, 'collector'),
      cgroup: path.join(cgroup, name),
    };
  });
  return { id, dir, options, fabricNetns: fabricNetns(id), cgroup, nodes };
}
