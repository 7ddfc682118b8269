/**
 * What must outlive the process besides the kernel's maps: whose each interface generation is. One small file a generation under
 * `<stateDir>/<bootId>/`, written before the record enters the kernel, removed after the last count was acknowledged. A killed
 * process so always finds, for every generation in the maps, the pod it was bound to. Files of an earlier boot are removed: the
 * maps they speak of went with it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { PodRef } from '@bailiff/schemas';
import * as z from 'zod';
import type { Binding } from './identity.ts';
import { cleanAddresses, cleanMac, type Dropped } from './normalize.ts';

export interface StoredInterface {
  ifindex: number;
  generation: number;
  slot: number;
  seenBase: number;
  interfaceName: string;
  binding: Binding | null;
  /** As last known, so that a final count after a restart still names the owner. */
  pod: PodRef | null;
  /** From the event of its coming to its programs being attached; null: not known. */
  guardedAfterMs: number | null;
  packetsBeforeGuard: number;
  gapReported: boolean;
  /** Violations found by user space so far, by `<vector>/<state>`. */
  occurrences: Record<string, number>;
  /** Words of the last reported disagreement or move: a restart does not report it again. */
  lastReported: Record<string, string>;
}

const count = z.number().int().nonnegative();
const text = z.string();
const binding = z.object({
  source: z.enum(['cni', 'netns']),
  podUid: text,
  podNamespace: text,
  podName: text,
  ifName: text,
  mac: text,
  addresses: z.array(text),
  link: z.object({ name: text, mac: text, linkNetnsid: z.number().int().nullable() }),
  recordFile: text.optional(),
  recordedAtMs: z.number().optional(),
  isDoubtful: z.boolean().optional(),
});
const podRef = z.object({
  uid: text,
  namespace: text,
  name: text,
  serviceAccount: text,
  ownerKind: text,
  ownerName: text,
  ownerUid: text,
});
const storedInterface = z.object({
  ifindex: count,
  generation: count,
  slot: z.number().int(),
  seenBase: z.number(),
  interfaceName: text,
  binding: binding.nullable(),
  pod: podRef.nullable(),
  guardedAfterMs: z.number().nonnegative().nullable().default(null),
  packetsBeforeGuard: z.number(),
  gapReported: z.boolean(),
  occurrences: z.record(text, count),
  lastReported: z.record(text, text).default({}),
});

export interface BindingStoreOptions {
  readOnly?: boolean;
  /** A file could not be written: what is in force is so all the same. */
  onProblem?(problem: { file: string; reason: string }): void;
}

export class BindingStore {
  readonly #dir: string;
  readonly #onProblem: (problem: { file: string; reason: string }) => void;

  /** Creates the folder and removes those of earlier boots, unless it is only read. */
  constructor(stateDir: string, bootId: string, options: BindingStoreOptions = {}) {
    this.#dir = path.join(stateDir, bootId);
    this.#onProblem = options.onProblem ?? (() => undefined);
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

  /** Atomic against a kill of the process: written aside, then renamed. A disk that is full is reported, never thrown. */
  save(stored: StoredInterface): void {
    const file = this.#file(stored.ifindex, stored.generation);
    try {
      writeFileSync(`${file}.new`, JSON.stringify(stored), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      this.#onProblem({ file, reason: (error as Error).message });
    }
  }

  remove(ifindex: number, generation: number): void {
    const file = this.#file(ifindex, generation);
    try {
      rmSync(file, { force: true });
    } catch (error) {
      this.#onProblem({ file, reason: (error as Error).message });
    }
  }

  /** Every stored generation; a file that cannot be read is named in `unreadable` and left where it is. */
  load(): { stored: StoredInterface[]; unreadable: { file: string; reason: string }[] } {
    const stored: StoredInterface[] = [];
    const unreadable: { file: string; reason: string }[] = [];
    for (const name of existsSync(this.#dir) ? readdirSync(this.#dir) : []) {
      if (!/^\d+-\d+\.json$/.test(name)) continue;
      const file = path.join(this.#dir, name);
      try {
        const one = storedInterface.parse(JSON.parse(readFileSync(file, 'utf8')));
        if (`${one.ifindex}-${one.generation}.json` !== name) throw new Error('the file is of another interface');
        const dropped: Dropped = [];
        stored.push({ ...one, binding: one.binding && cleanBinding(one.binding, dropped) });
        for (const reason of dropped) unreadable.push({ file, reason });
      } catch (error) {
        unreadable.push({ file, reason: (error as Error).message });
      }
    }
    return { stored, unreadable };
  }
}

const cleanBinding = (one: Binding, dropped: Dropped): Binding => ({
  ...one,
  mac: cleanMac(one.mac, 'mac', dropped),
  addresses: cleanAddresses(one.addresses, 'addresses', dropped),
});
