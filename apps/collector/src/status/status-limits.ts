/**
 * Fits the lists of a node's status, most of all its interfaces, into its value in `bailiff_nodes`, which has
 * at most 512 KiB. Interfaces that need attention come first, then guarded ones, and non-pod interfaces last; the rest
 * is counted. A pod can leave thousands of links in the network of the node, so these displace none of a pod.
 * Pure.
 */
import { clipReason, type InterfaceStatus, LIST_LIMITS, type NodeStatus } from '@bailiff/schemas';
import { LEFT_LINK } from '../packets/subjects/left-links.ts';

/**
 * Bytes of JSON for interfaces. Policies take 128 KiB, and the whole status stays below 512 KiB.
 */
export const MAX_INTERFACES_BYTES = 320 * 1024;

const RANK: Readonly<Record<InterfaceStatus['coverage'], number>> = {
  'not-covered': 0,
  partial: 1,
  guarded: 2,
  'not-applicable': 4,
};
/** Before what is no interface of a pod. */
const LEFT = 3;

const hasProblem = ({ unjudgedFrames = 0, pastGuardFrames = 0, notCompared = '', quarantinedUntil }: InterfaceStatus) =>
  unjudgedFrames > 0 || pastGuardFrames > 0 || notCompared !== '' || quarantinedUntil !== null;

/** A guarded interface can have problems too, which its status alone reports. */
const rankOf = (one: InterfaceStatus): number =>
  hasProblem(one) ? -1 : one.reason === LEFT_LINK ? LEFT : RANK[one.coverage];

/**
 * @returns the interfaces that fit; `interfacesOmitted` counts the others by coverage, absent if
 *   there are none
 */
export function fitInterfaces(
  interfaces: readonly InterfaceStatus[],
  maxBytes = MAX_INTERFACES_BYTES,
): Pick<NodeStatus, 'interfaces' | 'interfacesOmitted'> {
  const omitted = { guarded: 0, partial: 0, 'not-covered': 0, 'not-applicable': 0 };
  const kept: InterfaceStatus[] = [];
  let bytes = 0;
  for (const one of [...interfaces].sort((a, b) => rankOf(a) - rankOf(b))) {
    const fitted = { ...one, reason: clipReason(one.reason) };
    bytes += Buffer.byteLength(JSON.stringify(fitted)) + 1;
    if (bytes > maxBytes || kept.length >= LIST_LIMITS.interfaces.items) omitted[one.coverage] += 1;
    else kept.push(fitted);
  }
  return kept.length === interfaces.length ? { interfaces: kept } : { interfaces: kept, interfacesOmitted: omitted };
}

/** Namespaces with a disarm in a status; an incident has one or two. */
export const MAX_DISARMED_NAMESPACES = 64;

/** The first of the list, and the number of the others. */
export function fitDisarms(
  disarmed: NonNullable<NodeStatus['disarmedNamespaces']>,
): Pick<NodeStatus, 'disarmedNamespaces' | 'disarmedNamespacesOmitted'> {
  const omitted = disarmed.length - MAX_DISARMED_NAMESPACES;
  return {
    disarmedNamespaces: disarmed.slice(0, MAX_DISARMED_NAMESPACES),
    ...(omitted > 0 ? { disarmedNamespacesOmitted: omitted } : {}),
  };
}
