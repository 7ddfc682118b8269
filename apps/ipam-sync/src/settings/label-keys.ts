/**
 * Label names that runtime policies select pods by, followed in `bailiff_config`. These labels are
 * never cut. Otherwise a tenant could hide a pod from a policy by adding labels until the selected
 * one is cut.
 *
 * A key stays until the process ends, so that a recreated policy finds its label. Bound: MAX_KEYS;
 * further names are not protected, and counted.
 */
import type { Bucket, KvEntry } from '@bailiff/bus';

/** Policies use a handful of names. */
export const MAX_KEYS = 256;

/** Label names in the selector of a stored policy; none if it is invalid. Pure. */
export function labelKeysIn(json: string): string[] {
  try {
    const { podLabels } = JSON.parse(json)?.selector ?? {};
    const expressions: unknown[] = Array.isArray(podLabels?.matchExpressions) ? podLabels.matchExpressions : [];
    const keys = expressions.map((one) => (one as { key?: unknown } | null)?.key);
    return [...Object.keys(podLabels?.matchLabels ?? {}), ...keys].filter((key) => typeof key === 'string');
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

export class LabelKeys {
  readonly keys = new Set<string>();
  readonly #bucket: Pick<Bucket, 'watch'>;
  readonly #onMore: () => void;
  #synced = false;
  #wake: () => void = () => {};
  readonly #whenSynced = new Promise<void>((resolve) => {
    this.#wake = resolve;
  });
  refused = 0;

  /** @param onMore a name was added after the initial read */
  constructor(bucket: Pick<Bucket, 'watch'>, onMore: () => void) {
    this.#bucket = bucket;
    this.#onMore = onMore;
  }

  /** Resolves after the initial read of all policies, or when the signal aborts. */
  async whenSynced(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    signal.addEventListener('abort', this.#wake, { once: true });
    await this.#whenSynced;
  }

  /** Follows the policies until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#bucket.watch({
      filter: 'runtime.>',
      signal,
      onEntry: (entry) => this.#take(entry),
      onSynced: () => {
        this.#synced = true;
        this.#wake();
      },
    });
  }

  #take(entry: KvEntry): void {
    const before = this.keys.size;
    for (const key of entry.deleted ? [] : labelKeysIn(entry.value.toString('utf8'))) {
      if (this.keys.size < MAX_KEYS) this.keys.add(key);
      else if (!this.keys.has(key)) this.refused += 1;
    }
    if (this.#synced && this.keys.size > before) this.#onMore();
  }
}
