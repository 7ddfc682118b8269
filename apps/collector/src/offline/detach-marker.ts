/**
 * Marker of `collector detach --all`. While it exists, a collector attaches nothing and reports
 * that in its status, so a restart does not undo the command. `collector attach` removes it.
 *
 * It has two places, and one is enough. The file in the state directory outlives a reboot. A
 * collector finds the directory among the pins even if the operator gave a wrong state directory; a
 * bpffs has no files.
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

  /** Why nothing is attached; empty: programs may be attached. */
  reason(): string {
    const found = timeOf(this.#file) ?? timeOf(this.#pin);
    if (found === null) return '';
    return `detached by an operator at ${found.toISOString()}: \`collector attach\` guards this node again`;
  }

  /** @returns places where it could not be created, with the error */
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

  /** @returns places where it existed. Throws errors of the file system. */
  clear(): string[] {
    const places = [this.#file, this.#pin].filter((place) => timeOf(place) !== null);
    rmSync(this.#file, { force: true });
    if (places.includes(this.#pin)) rmdirSync(this.#pin);
    return places;
  }
}

/** When a marker was created; null: there is none. */
function timeOf(place: string): Date | null {
  return statSync(place, { throwIfNoEntry: false })?.mtime ?? null;
}
