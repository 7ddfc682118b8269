/**
 * Follows the cluster's spoof policy (`spoof.cluster._.default` in `bailiff_config`): permits of
 * grants, tunnel ports, and the setting for unguarded nodes. An invalid value is refused and the last
 * valid one stays in force, because a dropped permit disconnects pods. At start, that is the newest
 * valid value in the key's history. A value or deletion without a required signature is refused too.
 */
import { type Bucket, type KvEntry, signedConfigBy } from '@bailiff/bus';
import {
  ConfigError,
  parseConfigKey,
  parseConfigValue,
  SIGNATURE_HEADER,
  type SignedConfig,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  spoofCluster,
  type UnguardedNodes,
} from '@bailiff/policy';
import { type Permits, permitsOf } from '../pods/grants.ts';

export interface Settings {
  permits: Permits;
  tunnelPorts: readonly number[];
  unguardedNodes: UnguardedNodes;
}

export type SettingsReading = { good: true; settings: Settings } | { good: false; reason: string };

const settingsOf = (config: SpoofCluster): Settings => ({
  permits: permitsOf(config),
  tunnelPorts: [...config.tunnelPorts.vxlan, ...config.tunnelPorts.geneve],
  unguardedNodes: config.unguardedNodes,
});

/** No permits and no taints. */
export const NO_SETTINGS: Settings = settingsOf(spoofCluster.parse({}));

/** Parses a value of the key; a deleted key gives the built-in settings. Pure. */
export function readSettings(entry: Pick<KvEntry, 'deleted' | 'value'>): SettingsReading {
  if (entry.deleted) return { good: true, settings: NO_SETTINGS };
  try {
    const config = parseConfigValue(parseConfigKey(SPOOF_CLUSTER_KEY), entry.value.toString('utf8')) as SpoofCluster;
    return { good: true, settings: settingsOf(config) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { good: false, reason: error.message };
  }
}

export class SettingsFeed {
  #bucket: Bucket;
  #signed: SignedConfig;
  #onChange: () => void;
  /** A value of the bucket was accepted. */
  #isKnown = false;
  #settings = NO_SETTINGS;
  /** True after the initial read of the bucket. */
  synced = false;
  refused = 0;
  /** Why the newest value is not in force; otherwise empty. */
  refusal = '';

  /** @param signersFile empty: the key needs no signature. @throws ConfigError CONFIG_SIGNATURE */
  constructor(bucket: Bucket, onChange: () => void, signersFile = '') {
    this.#bucket = bucket;
    this.#signed = signedConfigBy(signersFile);
    this.#onChange = onChange;
  }

  get permits(): Permits {
    return this.#settings.permits;
  }
  get tunnelPorts(): readonly number[] {
    return this.#settings.tunnelPorts;
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
      // The settings stay until the new bucket has others.
      onRecreated: () => {
        this.#isKnown = false;
      },
      onSynced: () => {
        this.synced = true;
        this.#onChange();
      },
    });
  }

  #read(entry: KvEntry): SettingsReading {
    const json = entry.deleted ? null : entry.value.toString('utf8');
    const reason = this.#signed.refusal({ key: entry.key, json, signature: entry.header(SIGNATURE_HEADER) });
    return reason === '' ? readSettings(entry) : { good: false, reason };
  }

  /** Whether a message lacks a signature that the key needs. */
  #isUnsigned = (entry: KvEntry): boolean => this.#signed.requires('spoof') && entry.header(SIGNATURE_HEADER) === '';

  async #take(entry: KvEntry): Promise<void> {
    // Without the value before it, an unsigned deletion would seem to change nothing.
    if (!this.#isKnown && this.#isUnsigned(entry)) await this.#recall();
    const reading = this.#read(entry);
    if (!reading.good) {
      this.#refuse(reading.reason);
      if (!this.#isKnown) await this.#recall();
    } else this.#accept(reading);
  }

  /** Reads the newest valid value in the key's history. */
  async #recall(): Promise<void> {
    for (const entry of (await this.#bucket.history(SPOOF_CLUSTER_KEY)).reverse()) {
      const reading = this.#read(entry);
      if (!reading.good || this.#isUnsigned(entry)) continue;
      const { refusal } = this;
      this.#accept(reading);
      this.refusal = refusal;
      return;
    }
  }

  #accept(reading: { settings: Settings }): void {
    this.#settings = reading.settings;
    this.#isKnown = true;
    this.refusal = '';
    if (this.synced) this.#onChange();
  }

  #refuse(reason: string): void {
    this.refused += 1;
    this.refusal = reason;
    if (this.synced) this.#onChange();
  }
}
