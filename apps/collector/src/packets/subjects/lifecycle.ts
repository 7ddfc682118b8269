/**
 * The end of an interface: removes it from the kernel, decides what of its counts is left to
 * publish, and forgets the generation once the bus has them. A failed step does not prevent the
 * others.
 */

import { COUNTER_NUMBERS, type IfaceKey, type SpoofObject } from '@bailiff/bpf';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { cellOf, droppedFromPod, isBeforeGuard, skbsOf } from '../counting/cells.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import type { BindingStore } from './binding-store.ts';
import { type GuardedInterface, keyOf } from './guarded-interface.ts';
import type { Registry } from './registry.ts';

/** Removes identity and links; counters stay until they are acknowledged. */
export function release(
  { object, onProblem }: { object: SpoofObject; onProblem: OnProblem },
  key: IfaceKey,
  ownsRecord: boolean,
): void {
  const { maps } = object;
  const name = `ifindex ${key.ifindex}`;
  attempt(onProblem, name, () => object.detach(key));
  attempt(onProblem, name, () => maps.addresses.replace(key, []));
  attempt(onProblem, name, () => maps.probePorts.replace(key, []));
  if (ownsRecord) attempt(onProblem, name, () => maps.ifaces.delete(key.ifindex));
}

const PASSED_UNBOUND = cellOf({ vector: 'unknown-interface', action: 'audit', state: 'unknown' });

type Reader = Pick<CounterStore, 'readInto'>;

/** null: nothing is stored of it. */
function readingOf(counters: Reader, iface: GuardedInterface): Float64Array | null {
  const reading = new Float64Array(COUNTER_NUMBERS);
  return counters.readInto(keyOf(iface), reading) ? reading : null;
}

/**
 * Frames of the pod that the guard of a netkit pair dropped. The kernel does not count them: neither at the host
 * side as received, nor at the pod's end as sent. A veth counts them, so 0.
 */
export function droppedOnNetkit(counters: Reader, iface: GuardedInterface): number {
  const reading = iface.link.kind === 'netkit' ? readingOf(counters, iface) : null;
  return reading === null ? 0 : droppedFromPod(reading);
}

/** Frames of the pod that the guard passed and counted while the interface was unbound. */
export function passedUnbound(counters: Reader, iface: GuardedInterface): number {
  const reading = readingOf(counters, iface);
  return reading === null ? 0 : skbsOf(reading, PASSED_UNBOUND);
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

export interface ForgetParts {
  registry: Pick<Registry, 'forget'>;
  store: Pick<BindingStore, 'remove'>;
  counters: Pick<CounterStore, 'remove'>;
  onProblem: OnProblem;
}

/** Call it when every count of the generation is acknowledged, or given up. */
export function forgetGeneration(parts: ForgetParts, iface: GuardedInterface): void {
  attempt(parts.onProblem, iface.link.name, () => parts.counters.remove(keyOf(iface)));
  parts.store.remove(iface.ifindex, iface.generation);
  parts.registry.forget(iface);
}
