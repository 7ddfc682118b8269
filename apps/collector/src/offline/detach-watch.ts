/**
 * Checks before each status whether an operator detached the programs (detach-marker.ts), and
 * whether the pins exist. Only a new process can create removed pins again.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { DetachMarker } from './detach-marker.ts';

export interface DetachWatchOptions {
  stateDir: string;
  bpfDir: string;
  observeOnly: boolean;
  /** The pins were removed. */
  onPinsGone(error: Error): void;
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

  /** @returns whether the reason changed */
  check(): boolean {
    const { observeOnly, bpfDir } = this.#o;
    if (observeOnly) return false;
    const reason = this.#marker.reason();
    if (reason === '' && !existsSync(path.join(bpfDir, 'maps', 'meta'))) {
      this.#o.onPinsGone(new Error(`the pins under ${bpfDir} are gone: a new process creates them again`));
      return false;
    }
    const hasChanged = reason !== this.reason;
    this.reason = reason;
    return hasChanged;
  }
}
