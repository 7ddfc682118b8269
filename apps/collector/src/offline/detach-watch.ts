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
   * Compares the reason with that of the last check. `pins-gone`: programs may be attached and the
   * pins are missing, because an operator ran `attach` after `detach --all`, or another program
   * removed them. That check counts once the pins exist again.
   */
  check(): 'unchanged' | 'changed' | 'pins-gone' {
    const { bpfDir, observeOnly } = this.#o;
    if (observeOnly) return 'unchanged';
    const reason = this.#marker.reason();
    if (reason === '' && !existsSync(path.join(bpfDir, 'maps', 'meta'))) return 'pins-gone';
    const hasChanged = reason !== this.reason;
    this.reason = reason;
    return hasChanged ? 'changed' : 'unchanged';
  }
}
