/**
 * What ipam-sync takes of the cluster's spoof policy (`spoof.cluster._.default` in `bailiff_config`), followed for ever: the administrator's key, and
 * what becomes of nodes that nobody guards. A value that is wrong is refused and the last good one kept (at start: the newest good one that
 * the bucket still remembers), because dropping a grant cuts a pod off.
 */
import type { Bucket, KvEntry } from '@bailiff/bus';
import {
  ConfigError,
  parseConfigKey,
  parseConfigValue,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  spoofCluster,
  type UnguardedNodes,
} from '@bailiff/policy';
import { type PrefixPermits, permitsOf } from '../pods/grants.ts';

export interface Settings {
  permits: PrefixPermits;
  unguardedNodes: UnguardedNodes;
}

export type SettingsReading = { good: true; settings: Settings; revision: number } | { good: false; reason: string };

const settingsOf = ({ allowedPrefixes, unguardedNodes }: SpoofCluster): Settings => ({
  permits: permitsOf(allowedPrefixes),
  unguardedNodes,
});

/** Permits nothing, taints nothing. */
export const NO_SETTINGS: Settings = settingsOf(spoofCluster.parse({}));

/** Reads a value of the key; of a deleted key what is built in holds. Pure. */
export function readSettings(entry: Pick<KvEntry, 'deleted' | 'value'>): SettingsReading {
  if (entry.deleted) return { good: true, settings: NO_SETTINGS, revision: 0 };
  try {
    const config = parseConfigValue(parseConfigKey(SPOOF_CLUSTER_KEY), entry.value.toString('utf8')) as SpoofCluster;
    return { good: true, settings: settingsOf(config), revision: config.revision };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { good: false, reason: error.message };
  }
}

export class SettingsFeed {
  #bucket: Bucket;
  #onChange: () => void;
  #revision = -1;
  #settings = NO_SETTINGS;
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
    return this.#settings.permits;
  }
  get unguardedNodes(): UnguardedNodes {
    return this.#settings.unguardedNodes;
  }

  /** Follows the key until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#bucket.watch({
      filter: SPOOF_CLUSTER_KEY,
      signal,
      onEntry: (entry) => this.#take(entry),
      // Revisions begin again. What held stands until the new bucket says otherwise.
      onRecreated: () => {
        this.#revision = -1;
      },
      onSynced: () => {
        this.synced = true;
        this.#onChange();
      },
    });
  }

  async #take(entry: KvEntry): Promise<void> {
    const reading = readSettings(entry);
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
      const reading = readSettings(entry);
      if (!reading.good) continue;
      const { refusal } = this;
      this.#accept(reading);
      this.refusal = refusal;
      return;
    }
  }

  #accept(reading: { settings: Settings; revision: number }): void {
    this.#settings = reading.settings;
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
