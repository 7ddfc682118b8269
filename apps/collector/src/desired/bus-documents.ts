/**
 * Follows the documents of this node on the bus: pod list, cluster networks, quarantine list and
 * configuration.
 *
 * Data path: bailiff_pods, bailiff_quarantine, bailiff_config → here → config-receiver.ts →
 * desired-state.ts.
 */
import { BucketReader, type FollowerBuses, type KvEntry, SnapshotReader } from '@bailiff/bus';
import { SIGNATURE_HEADER } from '@bailiff/policy';
import { CLUSTER_KEY, decodeSnapshotValue } from '@bailiff/schemas';

export interface BusDocument {
  what: 'pods' | 'cluster' | 'quarantine' | 'config';
  key: string;
  /** null: the key was deleted. */
  json: string | null;
  /** Of a configuration key, as in the bus; absent: unsigned. */
  signature?: string;
}

export const isRuntimePolicy = ({ what, key }: Pick<BusDocument, 'what' | 'key'>): boolean =>
  what === 'config' && key.startsWith('runtime.');

/** Kinds of configuration that a collector follows. */
const CONFIG_KINDS = ['spoof', 'disarm', 'runtime'] as const;
export type ConfigKind = (typeof CONFIG_KINDS)[number];

export interface DocumentOptions {
  /**
   * @param storedMicros when the bus stored it; 0: before this process followed it, so its latency
   *   is unknown
   */
  onDocument(document: BusDocument, storedMicros: number): void;
  /** The bucket of these documents was recreated: revisions begin again. */
  onRestart(what: BusDocument['what']): void;
  /**
   * Every key of the kind that the bus showed was published. `keys`: those with a value, once it is
   * certain that there are no others; null before, and when the bucket was recreated since.
   */
  onConfigSynced(kind: ConfigKind, keys: ReadonlySet<string> | null): void;
  onError(part: string, error: Error): void;
}

export class BusDocuments {
  readonly #o: DocumentOptions;
  readonly #buses: FollowerBuses;
  readonly #sinceMicros: number;
  readonly #readers: (SnapshotReader | BucketReader)[];
  readonly #startedAtMs = performance.now();
  /** Revision in the bucket of the newest spoof policy that was received; 0: none was. */
  spoofRevision = 0;

  /** Follows at once; close() ends it. */
  constructor(buses: FollowerBuses, nodeToken: string, nowMicros: number, options: DocumentOptions) {
    this.#o = options;
    this.#buses = buses;
    this.#sinceMicros = nowMicros;
    this.#readers = [
      this.#follow('cluster', 'bailiff_pods', CLUSTER_KEY),
      this.#follow('pods', 'bailiff_pods', nodeToken),
      this.#follow('quarantine', 'bailiff_quarantine', nodeToken),
      ...CONFIG_KINDS.map((kind) => this.#followConfig(kind)),
    ];
  }

  /**
   * How long no read has confirmed some document, and why. A document that never changes is confirmed
   * every 30 s, so a longer time means that changes may be missed.
   */
  unconfirmed(): { forMs: number; reason: string } {
    const nowMs = performance.now();
    const ages = this.#readers.map((reader) => ({
      reader,
      forMs: nowMs - Math.max(this.#startedAtMs, reader.confirmedAtMs),
    }));
    const oldest = ages.reduce((one, other) => (other.forMs > one.forMs ? other : one));
    const { name, unconfirmedReason: why } = oldest.reader;
    return { forMs: oldest.forMs, reason: why === '' ? '' : `${name}: ${why}` };
  }

  #follow(what: BusDocument['what'], bucket: string, key: string): SnapshotReader {
    return new SnapshotReader(this.#buses, bucket, key, {
      onSnapshot: (entry) => this.#publish(what, { ...entry, key }),
      onRecreated: () => this.#o.onRestart(what),
      onError: (error) => this.#o.onError(bucket, error as Error),
    });
  }

  #followConfig(kind: ConfigKind): BucketReader {
    const keys = new Set<string>();
    let recreated = false;
    return new BucketReader(this.#buses, 'bailiff_config', `${kind}.>`, {
      onEntry: (entry) => {
        if (entry.deleted) keys.delete(entry.key);
        else keys.add(entry.key);
        if (kind === 'spoof') this.spoofRevision = Math.max(this.spoofRevision, entry.revision);
        this.#publish('config', entry, entry.header(SIGNATURE_HEADER));
      },
      onSynced: () => this.#o.onConfigSynced(kind, null),
      onComplete: () => this.#o.onConfigSynced(kind, recreated ? null : keys),
      onRecreated: () => {
        recreated = true;
        if (kind === 'spoof') this.spoofRevision = 0;
        this.#o.onRestart('config');
      },
      onError: (error) => this.#o.onError('bailiff_config', error as Error),
    });
  }

  #publish(
    what: BusDocument['what'],
    entry: Pick<KvEntry, 'key' | 'value' | 'deleted' | 'timestampMicros'>,
    signature = '',
  ): void {
    const { key, deleted, value, timestampMicros } = entry;
    // A read of the copy has no time.
    const storedMicros = timestampMicros >= this.#sinceMicros ? timestampMicros : 0;
    const json = deleted ? null : decodeSnapshotValue(value);
    this.#o.onDocument({ what, key, json, ...(signature === '' ? {} : { signature }) }, storedMicros);
  }

  close(): void {
    for (const reader of this.#readers) reader.close();
  }
}
