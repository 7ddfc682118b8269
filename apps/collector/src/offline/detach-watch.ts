/**
 * Checks on a timer whether an operator detached the programs (detach-marker.ts), and whether the
 * pins exist.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { DetachMarker } from './detach-marker.ts';

export interface DetachWatchOptions {
  stateDir: string;
  bpfDir: string;
  observeOnly: boolean;
}

export class DetachWatch {
  readonly #o: DetachWatchOptions;
  readonly #marker: DetachMarker;
  /** Result of the last check; empty: programs may be attached. */
  reason = '';

  constructor(options: DetachWatchOptions) {
    this.#o = options;
    this.#marker = new DetachMarker(options.stateDir, options.bpfDir);
  }

  /** Call it before anything is attached. */
  start(): void {
    this.reason = this.#marker.reason();
  }

  /** Why programs are not attached now; empty: they may be. */
  whyNotAttach(): string {
    return this.#o.observeOnly ? 'observing only: nothing is attached' : this.#marker.reason();
  }

  /**
   * Whether programs may be attached and the pins are missing: an operator ran `attach` after
   * `detach --all`, or another program removed them.
   */
  arePinsGone(): boolean {
    const { bpfDir, observeOnly } = this.#o;
    return !observeOnly && this.#marker.reason() === '' && !existsSync(path.join(bpfDir, 'maps', 'meta'));
  }

  /** @returns whether the reason changed */
  check(): boolean {
    if (this.#o.observeOnly) return false;
    const reason = this.#marker.reason();
    const hasChanged = reason !== this.reason;
    this.reason = reason;
    return hasChanged;
  }
}
