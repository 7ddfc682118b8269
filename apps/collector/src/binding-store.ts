/**
 * What must outlive the process besides the kernel's maps: whose each interface generation is. One small file a generation under
 * `<stateDir>/<bootId>/`, written before the record enters the kernel, removed after the last count was acknowledged. A killed
 * process so always finds, for every generation in the maps, the pod it was bound to. Files of an earlier boot are removed: the
 * maps they speak of went with it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { PodRef } from '@bailiff/schemas';
import type { Binding } from './identity.ts';

export interface StoredInterface {
  ifindex: number;
  generation: number;
  slot: number;
  seenBase: number;
  interfaceName: string;
  binding: Binding | null;
  /** As last known, so that a final count after a restart still names the owner. */
  pod: PodRef | null;
  packetsBeforeGuard: number;
  gapReported: boolean;
  /** Violations found by user space so far, by vector. */
  occurrences: Record<string, number>;
  /** Words of the last reported disagreement or move, by vector: a restart does not report them again. */
  lastReported: Record<string, string>;
}

export class BindingStore {
  readonly #dir: string;

  /** Creates the folder and removes those of earlier boots, unless it is only read. */
  constructor(stateDir: string, bootId: string, options: { readOnly?: boolean } = {}) {
    this.#dir = path.join(stateDir, bootId);
    if (options.readOnly) return;
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const entry of readdirSync(stateDir)) {
      if (entry !== bootId && /^[0-9a-f-]{36}$/.test(entry))
        rmSync(path.join(stateDir, entry), { recursive: true, force: true });
    }
  }

  #file(ifindex: number, generation: number): string {
    return path.join(this.#dir, `${ifindex}-${generation}.json`);
  }

  /** Atomic against a kill of the process: written aside, then renamed. */
  save(stored: StoredInterface): void {
    const file = this.#file(stored.ifindex, stored.generation);
    writeFileSync(`${file}.new`, JSON.stringify(stored), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  remove(ifindex: number, generation: number): void {
    rmSync(this.#file(ifindex, generation), { force: true });
  }

  /** Every stored generation; a file that cannot be read is named in `unreadable` and left where it is. */
  load(): { stored: StoredInterface[]; unreadable: { file: string; reason: string }[] } {
    const stored: StoredInterface[] = [];
    const unreadable: { file: string; reason: string }[] = [];
    for (const name of existsSync(this.#dir) ? readdirSync(this.#dir) : []) {
      if (!/^\d+-\d+\.json$/.test(name)) continue;
      const file = path.join(this.#dir, name);
      try {
        stored.push(JSON.parse(readFileSync(file, 'utf8')) as StoredInterface);
      } catch (error) {
        unreadable.push({ file, reason: (error as Error).message });
      }
    }
    return { stored, unreadable };
  }
}
