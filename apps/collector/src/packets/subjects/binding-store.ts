/**
 * Stores the binding of each interface generation on disk: one small file per generation under
 * `<stateDir>/<bootId>/`. It is written before the record enters the kernel and removed after the
 * last count is acknowledged. After a kill, the next process finds the pod of every generation in
 * the maps. Files of an earlier boot are removed, because its maps are gone.
 */

import path from 'node:path';
import type { PodRef } from '@bailiff/schemas';
import { FileStore } from '@bailiff/service';
import * as z from 'zod';
import type { Binding } from '../../identity/identity.ts';
import { type Dropped, normalizeAddresses, normalizeMac } from '../../identity/normalize.ts';
import { NEVER_SEEN, type Seen } from '../../identity/pod-life.ts';
import { storedPodRef } from '../../identity/stored-pod-ref.ts';
import type { OnProblem } from '../../process/problem-log.ts';

export interface StoredInterface {
  ifindex: number;
  generation: number;
  slot: number;
  seenBase: number;
  interfaceName: string;
  binding: Binding | null;
  /** Where the pod of the binding was seen. */
  podSeen?: Seen;
  /** The last known pod, so that a final count after a restart names it. */
  pod: PodRef | null;
  /** From its netlink event to its attached programs; null: unknown. */
  guardedAfterMs: number | null;
  packetsBeforeGuard: number;
  /** See GuardedInterface. */
  receivedBase: number;
  /** Frames that the interface received and its programs did not judge when they were attached. */
  conservationBase?: number | null;
  /** Whether `packetsBeforeGuard` is published. */
  gapReported: boolean;
  /** Violations that user space found so far, by `<vector>/<state>`. */
  occurrences: Record<string, number>;
  /** Text of the last reported disagreement or move, so that a restart does not report it again. */
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
  isMacRead: z.boolean().optional(),
  addresses: z.array(text),
  link: z.object({ name: text, mac: text, linkNetnsid: z.number().int().nullable() }),
  recordFile: text.optional(),
  recordedAtMs: z.number().optional(),
  isDoubtful: z.boolean().optional(),
  fromCall: z.boolean().optional(),
});
const storedInterface = z.object({
  ifindex: count,
  generation: count,
  slot: z.number().int(),
  seenBase: z.number(),
  interfaceName: text,
  binding: binding.nullable(),
  podSeen: z.object({ cgroup: z.boolean(), record: z.boolean() }).default(NEVER_SEEN),
  pod: storedPodRef.nullable(),
  guardedAfterMs: z.number().nonnegative().nullable().default(null),
  packetsBeforeGuard: z.number(),
  receivedBase: z.number().nonnegative().default(0),
  conservationBase: z.number().nullable().default(null),
  gapReported: z.boolean(),
  occurrences: z.record(text, count),
  lastReported: z.record(text, text).default({}),
});

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
  addresses: normalizeAddresses(one.addresses, 'addresses', dropped),
});
