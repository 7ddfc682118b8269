/**
 * The routed network between nodes: a namespace with a bridge as switch, one veth per node, and
 * routes to every other node's pod ranges. Pods of different nodes communicate through both nodes'
 * forwarding, as in a cluster without overlay. There is no route to the host.
 */
import { FABRIC_PREFIX4, FABRIC_PREFIX6, type LabPlan, type NodePlan } from '../plan.ts';
import { createNetns, ipBatch } from './netns.ts';

/** The node's interface on the fabric. */
export const UPLINK = 'eth0';
const SWITCH = 'fabric0';

/**
 * Lines for `ip -batch` in the fabric's namespace. Pure. Without snooping, so that the first
 * multicast packet does not wait for a report.
 */
export function fabricLines(plan: LabPlan): string[] {
  return [
    `link add ${SWITCH} type bridge mcast_snooping 0`,
    `link set ${SWITCH} up`,
    ...plan.nodes.flatMap((node) => [
      `link add port${node.index} type veth peer name ${UPLINK} netns ${node.netns}`,
      `link set port${node.index} master ${SWITCH} up`,
    ]),
  ];
}

/** Lines for `ip -batch` in a node's namespace. Pure. */
export function nodeLines(plan: LabPlan, node: NodePlan): string[] {
  return [
    `addr add ${node.address4}/${FABRIC_PREFIX4} dev ${UPLINK}`,
    `addr add ${node.address6}/${FABRIC_PREFIX6} dev ${UPLINK} nodad`,
    `link set ${UPLINK} up`,
    ...plan.nodes
      .filter((other) => other.index !== node.index)
      .flatMap((other) => [
        `route add ${other.podCidr4} via ${other.address4} dev ${UPLINK}`,
        `route add ${other.podCidr6} via ${other.address6} dev ${UPLINK}`,
      ]),
  ];
}

/** Creates and connects the namespaces of fabric and nodes. The lab's removal deletes them. */
export async function buildFabric(plan: LabPlan): Promise<void> {
  await Promise.all([createNetns(plan.fabricNetns), ...plan.nodes.map((node) => createNetns(node.netns, true))]);
  await ipBatch(plan.fabricNetns, fabricLines(plan));
  await Promise.all(plan.nodes.map((node) => ipBatch(node.netns, nodeLines(plan, node))));
}
