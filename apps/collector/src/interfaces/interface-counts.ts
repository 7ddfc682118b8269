/** Small questions about what a generation has counted, by a reading of the kernel's counters or of what stands for them. */
import { COUNTER_NUMBERS } from '@bailiff/bpf';
import type { CounterStore } from '../counting/counter-store.ts';
import { isBeforeGuard } from '../counting/epochs.ts';
import { type GuardedInterface, keyOf } from './guarded-interface.ts';

/** What the kernel programs of both halves could not do, by name. */
export function lossesOf(
  spoof: Readonly<Record<string, bigint>>,
  runtime: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries([
    ...Object.entries(spoof).map(([loss, n]) => [loss, Number(n)]),
    ...Object.entries(runtime).map(([loss, n]) => [`runtime-${loss}`, n]),
  ]);
}

type Reader = Pick<CounterStore, 'readInto'>;

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

/** Packets that the bus does not have and never will, of a generation that had to make room. */
export function forgottenOf(accounts: Reader, iface: GuardedInterface): { packets: number; reason: string } {
  const counters = readingOf(accounts, iface);
  const packets = counters ? iface.book.unacked(counters) : 0;
  const why = 'were never told: too many interfaces went while the bus was away';
  return { packets, reason: `${packets} packets of generation ${iface.generation} ${why}` };
}

/** Packets that passed while nobody was known are part of the gap: they are not violations of the pod. */
export function forgiveBeforeGuard(accounts: Reader, iface: GuardedInterface): void {
  const counters = readingOf(accounts, iface);
  if (counters) iface.book.exclude(counters, isBeforeGuard);
}
