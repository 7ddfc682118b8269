/**
 * Parses the snapshots of the bus into values that the kernel maps can hold. Pure. A value that
 * cannot be parsed is dropped from its document and listed; the document stays valid.
 */
import {
  type ClusterSnapshot,
  clusterSnapshot,
  type NodeSnapshot,
  nodeSnapshot,
  type PodIdentity,
} from '@bailiff/schemas';
import type * as z from 'zod';
import { type Dropped, normalizeAddresses, normalizeCidrs, normalizeMac } from '../identity/normalize.ts';

/** `dropped`: removed values, each with place and reason. */
export type Parsed<T> = { value: T; dropped: Dropped } | { refused: string };

export function parseNodeSnapshot(json: string): Parsed<NodeSnapshot> {
  const parsed = parseJson(json, nodeSnapshot);
  if ('refused' in parsed) return parsed;
  const dropped: Dropped = [];
  const pods = parsed.value.pods.map((pod) => normalizePod(pod, dropped));
  return { value: { ...parsed.value, pods }, dropped };
}

export function parseClusterSnapshot(json: string): Parsed<ClusterSnapshot> {
  const parsed = parseJson(json, clusterSnapshot);
  if ('refused' in parsed) return parsed;
  const dropped: Dropped = [];
  const nodes = parsed.value.nodes.map((node) => ({
    ...node,
    addresses: normalizeAddresses(node.addresses, `node ${node.name}`, dropped),
    podCidrs: normalizeCidrs(node.podCidrs, `node ${node.name}`, dropped),
  }));
  const tunnelServices = (parsed.value.tunnelServices ?? []).flatMap(({ address, port }) => {
    if (address === '') return [{ address, port }];
    return normalizeAddresses([address], `service ${address}`, dropped).map((one) => ({ address: one, port }));
  });
  return { value: { ...parsed.value, nodes, tunnelServices }, dropped };
}

/** A pod with the values that the maps can hold. */
function normalizePod(pod: PodIdentity, dropped: Dropped): PodIdentity {
  const where = `pod ${pod.namespace}/${pod.name}`;
  const probePorts = pod.probePorts.filter(({ port }) => port >= 1 && port <= 65_535);
  if (probePorts.length < pod.probePorts.length) dropped.push(`${where}: a probe port outside 1-65535`);
  return {
    ...pod,
    interfaces: pod.interfaces.map((i) => ({ ...i, addresses: normalizeAddresses(i.addresses, where, dropped) })),
    allowedPrefixes: normalizeCidrs(pod.allowedPrefixes, where, dropped),
    ...(pod.allowedMacs && { allowedMacs: pod.allowedMacs.filter((mac) => normalizeMac(mac, where, dropped) === mac) }),
    ...(pod.allowedTunnels && { allowedTunnels: normalizeCidrs(pod.allowedTunnels, where, dropped) }),
    ...(pod.allowedNeighbours && { allowedNeighbours: normalizeCidrs(pod.allowedNeighbours, where, dropped) }),
    probePorts,
  };
}

function parseJson<T>(json: string, schema: z.ZodType<T>): { value: T } | { refused: string } {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (error) {
    return { refused: `not JSON: ${(error as Error).message}` };
  }
  const result = schema.safeParse(raw);
  if (result.success) return { value: result.data };
  const issue = result.error.issues[0];
  return { refused: `${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'wrong shape'}` };
}
