/**
 * Whether an operator took the programs off (detach-marker.ts), looked at before each status; and whether the pins are still there, which
 * only a new process can make again.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { DetachMarker } from './detach-marker.ts';

export interface DetachWatchOptions {
  stateDir: string;
  bpfDir: string;
  observeOnly: boolean;
  /** Somebody removed the pins. */
  onPinsGone(error: Error): void;
  /** Empty: programs may be attached again. */
  onChanged(reason: string): void;
}

export class DetachWatch {
  readonly #o: DetachWatchOptions;
  readonly #marker: DetachMarker;
  /** As of the last look; empty: programs may be attached. */
  reason = '';

  constructor(options: DetachWatchOptions) {
    this.#o = options;
    this.#marker = new DetachMarker(options.stateDir, options.bpfDir);
  }

  /** Before anything is attached. */
  begin(): void {
    this.reason = this.#marker.reason();
  }

  /** Now; empty: it may. */
  whyNotAttach(): string {
    return this.#o.observeOnly ? 'observing only: nothing is attached' : this.#marker.reason();
  }

  check(): void {
    const { observeOnly, bpfDir } = this.#o;
    if (observeOnly) return;
    const reason = this.#marker.reason();
    if (reason === '' && !existsSync(path.join(bpfDir, 'maps', 'meta'))) {
      this.#o.onPinsGone(new Error(`the pins under ${bpfDir} are gone: a new process makes them again`));
      return;
    }
    if (reason === this.reason) return;
    this.reason = reason;
    this.#o.onChanged(reason);
  }
}
