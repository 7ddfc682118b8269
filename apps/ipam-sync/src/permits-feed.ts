/**
 * The administrator's key as it stands on the bus: `spoof.cluster._.default` in `bailiff_config`, followed for ever. A value that is
 * wrong is refused and the last good one kept (at start: the newest good one that the bucket still remembers), because dropping a
 * grant cuts a pod off.
 */
import type { Bucket, KvEntry } from '@bailiff/bus';
import { ConfigError, parseConfigKey, parseConfigValue, SPOOF_CLUSTER_KEY, type SpoofCluster } from '@bailiff/policy';
import { NO_PERMITS, type PrefixPermits, permitsOf } from './grants.ts';

export type PermitReading = { good: true; permits: PrefixPermits; revision: number } | { good: false; reason: string };

/** Reads a value of the key; a deleted key permits nothing. Pure. */
export function readPermits(entry: Pick<KvEntry, 'deleted' | 'value'>): PermitReading {
  if (entry.deleted) return { good: true, permits: NO_PERMITS, revision: 0 };
  try {
    const config = parseConfigValue(parseConfigKey(SPOOF_CLUSTER_KEY), entry.value.toString('utf8')) as SpoofCluster;
    return { good: true, permits: permitsOf(config.allowedPrefixes), revision: config.revision };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { good: false, reason: error.message };
  }
}

export class PermitsFeed {
  #bucket: Bucket;
  #onChange: () => void;
  #revision = -1;
  #permits: PrefixPermits = NO_PERMITS;
  /** True once what the bucket held at start has been read. */
  synced = false;
  refused = 0;
  /** Why the newest value is not in force; empty when it is. */
  refusal = '';

  constructor(bucket: Bucket, onChange: () => void) {
    this.#bucket = bucket;
    this.#onChange = onChange;
  }

  get permits(): PrefixPermits {
    return this.#permits;
  }

  /** Follows the key until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#bucket.watch({
      filter: SPOOF_CLUSTER_KEY,
      signal,
      onEntry: (entry) => this.#take(entry),
      // Revisions begin again. What is permitted stands until the new bucket says otherwise.
      onRemade: () => {
        this.#revision = -1;
      },
      onSynced: () => {
        this.synced = true;
        this.#onChange();
      },
    });
  }

  async #take(entry: KvEntry): Promise<void> {
    const reading = readPermits(entry);
    if (!reading.good) {
      this.#refuse(reading.reason);
      if (this.#revision < 0) await this.#recall();
    } else if (!entry.deleted && reading.revision < this.#revision) {
      this.#refuse(`revision ${reading.revision} is older than ${this.#revision}`);
    } else this.#accept(reading);
  }

  /** The newest good value in the key's history. */
  async #recall(): Promise<void> {
    for (const entry of (await this.#bucket.history(SPOOF_CLUSTER_KEY)).reverse()) {
      const reading = readPermits(entry);
      if (!reading.good) continue;
      const { refusal } = this;
      this.#accept(reading);
      this.refusal = refusal;
      return;
    }
  }

  #accept(reading: { permits: PrefixPermits; revision: number }): void {
    this.#permits = reading.permits;
    this.#revision = reading.revision;
    this.refusal = '';
    if (this.synced) this.#onChange();
  }

  #refuse(reason: string): void {
    this.refused += 1;
    this.refusal = reason;
    if (this.synced) this.#onChange();
  }
}
