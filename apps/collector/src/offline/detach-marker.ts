/**
 * `collector detach --all` leaves this marker: a collector that runs or starts attaches nothing while it is there and says so in its
 * status, until `collector attach` takes it away. Without it a supervisor that restarts the collector would undo what an operator did by
 * hand.
 *
 * It stands in two places, and either is enough: a file in the state directory, which outlives a reboot, and a directory (a bpffs holds
 * no files) among the pins, which a collector of these pins finds however wrong the state directory was that the operator gave.
 */
import { mkdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Name of the marker in either place. */
export const MARKER = 'detached';

export class DetachMarker {
  readonly #file: string;
  readonly #pin: string;

  constructor(stateDir: string, bpfDir: string) {
    this.#file = path.join(stateDir, MARKER);
    this.#pin = path.join(bpfDir, MARKER);
  }

  /** Why nothing is attached; empty when programs may be. */
  reason(): string {
    const found = timeOf(this.#file) ?? timeOf(this.#pin);
    if (found === null) return '';
    return `detached by an operator at ${found.toISOString()}: \`collector attach\` guards this node again`;
  }

  /** @returns the places that did not take it, with what the file system says */
  leave(): { place: string; error: Error }[] {
    const failed: { place: string; error: Error }[] = [];
    const attempt = (place: string, make: () => void): void => {
      try {
        make();
      } catch (error) {
        failed.push({ place, error: error as Error });
      }
    };
    attempt(this.#file, () => writeFileSync(this.#file, ''));
    attempt(this.#pin, () => mkdirSync(this.#pin, { recursive: true, mode: 0o700 }));
    return failed;
  }

  /** Where there was one. Throws what the file system says. */
  clear(): string[] {
    const places = [this.#file, this.#pin].filter((place) => timeOf(place) !== null);
    rmSync(this.#file, { force: true });
    if (places.includes(this.#pin)) rmdirSync(this.#pin);
    return places;
  }
}

/** When a marker was left; null: it is not there, or nobody may look. */
function timeOf(place: string): Date | null {
  return statSync(place, { throwIfNoEntry: false })?.mtime ?? null;
}
