/**
 * Links in the network of the node that a pod has left there. When a network namespace ends, the kernel moves
 * links without a kind to the initial one. L2TP makes such a link for any process with a user namespace, which
 * keeps the other end: nothing judges what it sends to the node there.
 *
 * Data path: guard.ts, for each link that it does not guard → here → coverage of the node's status.
 * Limit: L2TP of the node itself looks the same. No name excludes a link, because the pod chooses it.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { LinkRecord } from '@bailiff/bpf';

/** Of the node's network namespace: collectors use the network of the host. */
const SYSFS = '/sys/class/net';
const LOOPBACK = 1;

/** For people: why the node is not covered. */
export const LEFT_LINK = 'no device and no kind of link: a pod may have left it in the network of the node';

/** Whether it is an Ethernet link that neither a device nor a kind of link explains. */
export function isLeft(
  { ifindex, kind, mac, name }: Pick<LinkRecord, 'ifindex' | 'kind' | 'mac' | 'name'>,
  sysfs: string = SYSFS,
): boolean {
  if (kind !== '' || mac === '' || ifindex === LOOPBACK) return false;
  const folder = path.join(sysfs, name);
  return existsSync(folder) && !existsSync(path.join(folder, 'device'));
}
