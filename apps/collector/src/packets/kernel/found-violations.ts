/**
 * Violations that only user space can see: a bus that contradicts the node (identity-mismatch), and a link that
 * changed under its binding (interface-moved). Each is reported once.
 */
import type { Moment } from '../../desired/desired-state.ts';
import { latchNetns, movedFrom } from '../../identity/identity.ts';
import { userspaceViolation } from '../publishing/violations.ts';
import type { BindingStore } from '../subjects/binding-store.ts';
import { type GuardedInterface, MAX_FOUND, originOf, storedOf } from '../subjects/guarded-interface.ts';

export interface FoundViolationsOptions {
  bootId: string;
  store: BindingStore;
  /** The interface has a new violation of user space. */
  onFound(iface: GuardedInterface): void;
}

export class FoundViolations {
  readonly #o: FoundViolationsOptions;

  constructor(options: FoundViolationsOptions) {
    this.#o = options;
  }

  /** @param mismatch addresses on which bus and node differ */
  find(iface: GuardedInterface, mismatch: readonly string[], moment: Moment): void {
    this.#report(
      iface,
      'identity-mismatch',
      mismatch.length > 0 ? `bus and node differ on ${mismatch.join(', ')}` : '',
      moment,
    );
    const latched = iface.binding && latchNetns(iface.binding, iface.link);
    if (latched) {
      iface.binding = latched;
      this.#o.store.save(storedOf(iface));
    }
    const moves = iface.binding ? movedFrom(iface.binding, iface.link) : [];
    this.#report(iface, 'interface-moved', moves.join('; '), moment);
  }

  #report(
    iface: GuardedInterface,
    vector: 'identity-mismatch' | 'interface-moved',
    detail: string,
    moment: Moment,
  ): void {
    if ((iface.lastReported[vector] ?? '') === detail) return;
    iface.lastReported[vector] = detail;
    if (detail === '') {
      this.#o.store.save(storedOf(iface));
      return;
    }
    const state = iface.kernel?.record.state ?? 'unknown';
    // Counted like its epoch is named: by vector and state.
    const occurrences = (iface.occurrences[`${vector}/${state}`] ?? 0) + 1;
    iface.occurrences[`${vector}/${state}`] = occurrences;
    this.#o.store.save(storedOf(iface));
    const violation = userspaceViolation(
      originOf(iface, this.#o.bootId),
      vector,
      state,
      occurrences,
      detail,
      moment.wallMs * 1000,
    );
    // The limit drops the oldest: the cumulative value of the newest includes their number.
    iface.found = [...iface.found, violation].slice(-MAX_FOUND);
    this.#o.onFound(iface);
  }
}
