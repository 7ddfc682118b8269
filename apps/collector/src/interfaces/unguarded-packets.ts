/**
 * What passed on an interface before it was judged as a pod's: the packets that its link received before the programs were there, and,
 * unless unknown interfaces are dropped, those that the programs saw while nobody was known. While there are no programs there is no end
 * to the gap; it is measured once, as soon as they stand and somebody is known.
 */
import { getLink, type SpoofMaps } from '@bailiff/bpf';
import type { GuardedInterface } from './guarded-interface.ts';

type Maps = Pick<SpoofMaps, 'seen' | 'settings'>;

const seenOf = (maps: Maps, iface: GuardedInterface) => Number(maps.seen(iface.slot)) - iface.seenBase;

/** It is known now whose it is, and the kernel was told: what its programs saw so far is unjudged. */
export function endUnknown(maps: Maps, iface: GuardedInterface): void {
  iface.seenUnjudged = maps.settings().unknownMode === 'enforce' ? 0 : seenOf(maps, iface);
}

/**
 * Takes what the link received so far, less what was judged. A packet in between is reported as unjudged rather than lost from the account.
 * @returns whether it was measured; not, when the link went: its final count says what there is to say
 */
export function measureGap(maps: Maps, iface: GuardedInterface): boolean {
  const judged = seenOf(maps, iface) - iface.seenUnjudged;
  const received = getLink(iface.ifindex)?.rxPackets ?? null;
  if (received === null) return false;
  iface.packetsBeforeGuard = Math.max(0, received - judged);
  return true;
}
