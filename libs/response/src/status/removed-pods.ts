/** Pods that responses removed, newest last: their nodes report whether they are gone. Pure. */
import type { Response } from '@bailiff/schemas';

/** Older removals are history. */
const REMOVED_WITHIN_MS = 3_600_000;
/** Of the newest ones. */
const MAX_REMOVED = 1_000;

export interface RemovedPod {
  podUid: string;
  atMs: number;
}

/** Collects records in the order of the stream. */
export class RemovedPods {
  readonly #sinceMs: number;
  readonly #atMs = new Map<string, number>();

  /** @param atMicros bus time */
  constructor(atMicros: number) {
    this.#sinceMs = atMicros / 1000 - REMOVED_WITHIN_MS;
  }

  add({ action, phase, podUid }: Response, storedMicros: number): void {
    const isRemoval = action === 'delete' || action === 'evict';
    const atMs = storedMicros / 1000;
    if (isRemoval && phase === 'succeeded' && podUid !== '' && atMs >= this.#sinceMs) this.#atMs.set(podUid, atMs);
  }

  get all(): RemovedPod[] {
    return [...this.#atMs].slice(-MAX_REMOVED).map(([podUid, atMs]) => ({ podUid, atMs }));
  }
}
