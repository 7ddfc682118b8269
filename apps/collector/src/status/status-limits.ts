/**
 * A node's status is one value of `bailiff_nodes`, which has 512 KiB at most: what does not fit is counted instead. What needs somebody's
 * attention comes first, and what is nobody's pod last. Pure.
 */
import { clipReason, type InterfaceStatus, LIST_LIMITS, type NodeStatus } from '@bailiff/schemas';

/** Bytes of JSON spent on interfaces; with policies (128 KiB) and the rest a status stays below what a key of the bucket may have: 512 KiB. */
export const MAX_INTERFACES_BYTES = 320 * 1024;

const RANK: Readonly<Record<InterfaceStatus['coverage'], number>> = {
  'not-covered': 0,
  partial: 1,
  guarded: 2,
  'not-applicable': 3,
};

/** The interfaces that fit, and how many of each coverage were left out; absent when none was. */
export function fitInterfaces(
  interfaces: readonly InterfaceStatus[],
  maxBytes = MAX_INTERFACES_BYTES,
): Pick<NodeStatus, 'interfaces' | 'interfacesOmitted'> {
  const omitted = { guarded: 0, partial: 0, 'not-covered': 0, 'not-applicable': 0 };
  const kept: InterfaceStatus[] = [];
  let bytes = 0;
  for (const one of [...interfaces].sort((a, b) => RANK[a.coverage] - RANK[b.coverage])) {
    const fitted = { ...one, reason: clipReason(one.reason) };
    bytes += Buffer.byteLength(JSON.stringify(fitted)) + 1;
    if (bytes > maxBytes || kept.length >= LIST_LIMITS.interfaces.items) omitted[one.coverage] += 1;
    else kept.push(fitted);
  }
  return kept.length === interfaces.length ? { interfaces: kept } : { interfaces: kept, interfacesOmitted: omitted };
}
