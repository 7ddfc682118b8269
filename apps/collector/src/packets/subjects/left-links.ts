/**
 * Links in the network of the node whose other end a pod may hold: nothing judges what it sends to the node there.
 * - When a network namespace ends, the kernel moves links without a kind to the initial one. L2TP makes such a link
 *   for any process with a user namespace.
 * - A line discipline of a terminal (SLIP, KISS, 6pack, GSM) makes its link in the initial one, whichever network
 *   namespace the process has. This needs CAP_NET_ADMIN without a user namespace.
 *
 * Data path: guard.ts, for each link that it does not guard → here → coverage of the node's status.
 * Limit: such links of the node itself look the same. No name excludes a link, because the pod chooses it.
 * Those that carry no IP, as of CAN and MCTP, are not meant.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { LinkRecord } from '@bailiff/bpf';

/** Of the node's network namespace: collectors use the network of the host. */
const SYSFS = '/sys/class/net';
const LOOPBACK = 1;
/** ARPHRD_* of links of line disciplines that carry IP: AX.25, SLIP in its modes, and none (GSM). */
const OF_TERMINALS: ReadonlySet<number> = new Set([3, 256, 257, 258, 259, 264, 0xfffe]);

/** In the place of a byte that is not UTF-8: no folder has such a name. Software names no link so, but a pod can. */
const NOT_UTF8 = '\uFFFD';

/** For people: why the node is not covered. */
export const LEFT_LINK = 'no device and no kind of link: a pod may have left it in the network of the node';

/** Whether it is a link that carries IP, and that neither a device nor a kind of link explains. */
export function isLeft(
  { ifindex, kind, mac, name }: Pick<LinkRecord, 'ifindex' | 'kind' | 'mac' | 'name'>,
  sysfs: string = SYSFS,
): boolean {
  if (kind !== '' || ifindex === LOOPBACK) return false;
  if (name.includes(NOT_UTF8)) return true;
  const folder = path.join(sysfs, name);
  if (!existsSync(folder) || existsSync(path.join(folder, 'device'))) return false;
  return mac !== '' || OF_TERMINALS.has(typeOf(folder));
}

/** ARPHRD_*; NaN: the link was deleted meanwhile. */
function typeOf(folder: string): number {
  try {
    return Number(readFileSync(path.join(folder, 'type'), 'utf8'));
  } catch {
    return Number.NaN;
  }
}
