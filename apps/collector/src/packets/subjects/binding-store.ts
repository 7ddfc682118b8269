/**
 * Stores the binding of each interface generation on disk: one small file per generation under
 * `<stateDir>/<bootId>/`. It is written before the record enters the kernel and removed after the
 * last count is acknowledged. After a kill, the next process finds the pod of every generation in
 * the maps. Files of an earlier boot are removed, because its maps are gone.
 */

import path from 'node:path';
import { FileStore } from '@bailiff/service';
import * as z from 'zod';
import { type Binding, binding } from '../../identity/identity.ts';
import { type Dropped, interfaceAddresses, normalizeMac } from '../../identity/normalize.ts';
import { NEVER_SEEN } from '../../identity/pod-life.ts';
import { storedPodRef } from '../../identity/stored-pod-ref.ts';
import type { OnProblem } from '../../process/problem-log.ts';

const count = z.number().int().nonnegative();
const storedInterface = z.object({
  ifindex: count,
  generation: count,
  slot: z.number().int(),
  seenBase: z.number(),
  interfaceName: z.string(),
  binding: binding.nullable(),
  /** Where the pod of the binding was seen. */
  podSeen: z.object({ cgroup: z.boolean(), record: z.boolean(), folder: z.string().optional() }).default(NEVER_SEEN),
  /** See GuardedInterface. */
  listedBefore: z.array(z.string()).default([]),
  /** The last known pod, so that a final count after a restart names it. */
  pod: storedPodRef.nullable(),
  /** From its netlink event to its attached programs; null: unknown. */
  guardedAfterMs: z.number().nonnegative().nullable().default(null),
  packetsBeforeGuard: z.number(),
  /** See GuardedInterface. */
  receivedBase: z.number().nonnegative().default(0),
  /** Frames that the interface received and its programs did not judge when they were attached. */
  conservationBase: z.number().nullable().default(null),
  /** Whether `packetsBeforeGuard` is published. */
  gapReported: z.boolean(),
  /** Violations that user space found so far, by `<vector>/<state>`. */
  occurrences: z.record(z.string(), count),
  /** Text of the last reported disagreement or move, so that a restart does not report it again. */
  lastReported: z.record(z.string(), z.string()).default({}),
});
export type StoredInterface = z.output<typeof storedInterface>;

export interface UnreadableFile {
  file: string;
  reason: string;
}

export interface BindingStoreOptions {
  readOnly?: boolean;
  /** A file could not be written; enforcement is not affected. */
  onProblem?: OnProblem;
}

export class BindingStore {
  readonly #dir: string;
  readonly #files: FileStore;

  /**
   * Creates the folder and removes those of earlier boots, unless `readOnly` is set. A disk that is
   * full or read-only is reported: pods can fill it, and the node is guarded without these files.
   */
  constructor(stateDir: string, bootId: string, options: BindingStoreOptions = {}) {
    this.#dir = path.join(stateDir, bootId);
    this.#files = new FileStore(this.#dir, (file, reason) => options.onProblem?.(file, reason));
    if (options.readOnly) return;
    const boots = new FileStore(stateDir, (file, reason) => options.onProblem?.(file, reason));
    // First, because their files may be those that fill the disk.
    for (const entry of boots.names(/^[0-9a-f-]{36}$/)) if (entry !== bootId) boots.remove(entry);
    this.#files.create();
  }

  /** Reports a full disk, never throws. */
  save(stored: StoredInterface): void {
    this.#files.save(fileName(stored), JSON.stringify(stored));
  }

  remove(ifindex: number, generation: number): void {
    this.#files.remove(fileName({ ifindex, generation }));
  }

  /** Every stored generation. `unreadable` names the files that cannot be read; they are kept. */
  load(): { stored: StoredInterface[]; unreadable: UnreadableFile[] } {
    const stored: StoredInterface[] = [];
    const unreadable: UnreadableFile[] = [];
    const files = new FileStore(this.#dir, (file, reason) => unreadable.push({ file, reason }));
    for (const name of files.names(/^\d+-\d+\.json$/)) {
      const one = files.read(name, (text) => storedInterface.parse(JSON.parse(text)));
      if (one === undefined) continue;
      if (fileName(one) !== name) {
        files.problem(name, 'the file belongs to another interface');
        continue;
      }
      const dropped: Dropped = [];
      stored.push({ ...one, binding: one.binding && normalizedBinding(one.binding, dropped) });
      for (const reason of dropped) files.problem(name, reason);
    }
    return { stored, unreadable };
  }
}

const fileName = ({ ifindex, generation }: Pick<StoredInterface, 'ifindex' | 'generation'>): string =>
  `${ifindex}-${generation}.json`;

const normalizedBinding = (one: Binding, dropped: Dropped): Binding => ({
  ...one,
  mac: normalizeMac(one.mac, 'mac', dropped),
  addresses: interfaceAddresses(one.addresses, 'addresses', dropped),
});
