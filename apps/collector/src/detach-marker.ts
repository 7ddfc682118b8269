/**
 * `collector detach --all` leaves this file in the state directory: a collector that runs or starts attaches nothing while it is there
 * and says so in its status, until `collector attach` takes it away. Without it a supervisor that restarts the collector would undo what
 * an operator did by hand.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const NAME = 'detached';

export class DetachMarker {
  readonly #file: string;

  constructor(stateDir: string) {
    this.#file = path.join(stateDir, NAME);
  }

  /** Why nothing is attached; empty when programs may be. */
  reason(): string {
    if (!existsSync(this.#file)) return '';
    let since = '';
    try {
      since = readFileSync(this.#file, 'utf8').trim();
    } catch {
      // That it is there is what counts.
    }
    return `detached by an operator${since === '' ? '' : ` at ${since}`}: \`collector attach\` guards this node again`;
  }

  /** Throws what the file system says. */
  leave(at: Date): void {
    writeFileSync(this.#file, `${at.toISOString()}\n`);
  }

  /** False when there was none. */
  clear(): boolean {
    const was = existsSync(this.#file);
    rmSync(this.#file, { force: true });
    return was;
  }
}
