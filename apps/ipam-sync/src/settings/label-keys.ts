/**
 * Names of labels that a runtime policy selects pods by, followed in `bailiff_config`. Labels with these names are never cut: a tenant could hide a pod from a
 * policy by labels that push out the one that the policy selects.
 *
 * A key that was used once stays until the process ends, so that a policy that is written again finds it. Bound: MAX_KEYS; names beyond it are not
 * protected, and counted.
 */
import type { Bucket, KvEntry } from '@bailiff/bus';

/** Policies select by a handful. */
export const MAX_KEYS = 256;

/** Label names in the selector of a stored policy; none when it cannot be read. Pure. */
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

  /** @param onMore a name was added after all that were there have been read */
  constructor(bucket: Pick<Bucket, 'watch'>, onMore: () => void) {
    this.#bucket = bucket;
    this.#onMore = onMore;
  }

  /** Resolves when all policies that were there have been read, or the signal aborts. */
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
