/**
 * Decisions about the counts of one interface generation: whether something is left to publish,
 * what is lost, and what is excluded as unguarded packets.
 */
import { COUNTER_NUMBERS } from '@bailiff/bpf';
import { isBeforeGuard } from '../counting/cells.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import { type GuardedInterface, keyOf } from './guarded-interface.ts';

type Reader = Pick<CounterStore, 'readInto'>;

/** null: nothing is stored of it. */
function readingOf(counters: Reader, iface: GuardedInterface): Float64Array | null {
  const reading = new Float64Array(COUNTER_NUMBERS);
  return counters.readInto(keyOf(iface), reading) ? reading : null;
}

/**
 * Whether a generation that is gone has no final count, unguarded packets, found violation or frame
 * in flight.
 */
export function hasNothingToPublish(counters: Reader, iface: GuardedInterface): boolean {
  const reading = readingOf(counters, iface);
  const counted = reading !== null && iface.ledger.counted(reading).length > 0;
  const hasUnguarded = iface.binding !== null && !iface.unguardedReported && iface.packetsBeforeGuard > 0;
  return !counted && !hasUnguarded && iface.found.length === 0 && iface.framesInFlight === 0;
}

/** Packets that the bus will never have, of a generation that is removed to make room. */
export function forgottenCounts(counters: Reader, iface: GuardedInterface): { packets: number; reason: string } {
  const reading = readingOf(counters, iface);
  const packets = reading ? iface.ledger.unacked(reading) : 0;
  const why = 'were never published: too many interfaces disappeared while the bus was unavailable';
  return { packets, reason: `${packets} packets of generation ${iface.generation} ${why}` };
}

/**
 * Excludes the packets that passed before the binding: they are unguarded packets, not violations
 * of the pod.
 */
export function excludeUnguarded(counters: Reader, iface: GuardedInterface): void {
  const reading = readingOf(counters, iface);
  if (reading) iface.ledger.exclude(reading, isBeforeGuard);
}
