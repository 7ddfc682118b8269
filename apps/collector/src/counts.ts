/** Small questions about what a generation has counted, by a reading of the kernel's counters or of what stands for them. */
import { COUNTER_NUMBERS } from '@bailiff/bpf';
import type { Accounts } from './accounts.ts';
import { isBeforeGuard } from './epochs.ts';
import { type GuardedInterface, keyOf } from './guarded-interface.ts';

type Reader = Pick<Accounts, 'readInto'>;

/** Null: nothing is kept of it. */
function readingOf(accounts: Reader, iface: GuardedInterface): Float64Array | null {
  const counters = new Float64Array(COUNTER_NUMBERS);
  return accounts.readInto(keyOf(iface), counters) ? counters : null;
}

/** Whether a generation that went has nothing to say: no last word, no gap, nothing found by user space, no frame on its way. */
export function hasNothingToSay(accounts: Reader, iface: GuardedInterface): boolean {
  const counters = readingOf(accounts, iface);
  const counted = counters !== null && iface.book.counted(counters).length > 0;
  const owesGap = iface.binding !== null && !iface.gapReported && iface.packetsBeforeGuard > 0;
  return !counted && !owesGap && iface.pending.length === 0 && iface.framesInFlight === 0;
}

/** Packets that the bus does not have. */
export function unackedPackets(accounts: Reader, iface: GuardedInterface): number {
  const counters = readingOf(accounts, iface);
  return counters ? iface.book.unacked(counters) : 0;
}

/** Packets that passed while nobody was known are part of the gap: they are not violations of the pod. */
export function forgiveBeforeGuard(accounts: Reader, iface: GuardedInterface): void {
  const counters = readingOf(accounts, iface);
  if (counters) iface.book.forgive(counters, isBeforeGuard);
}
