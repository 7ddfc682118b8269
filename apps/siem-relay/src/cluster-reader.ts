/**
 * The identity of the cluster, which every event names: read from the list of the cluster that
 * ipam-sync writes. Kept if a later list lacks it. Events have none until it is known.
 */
import type { Bucket } from '@bailiff/bus';
import { CLUSTER_KEY, type ClusterIdentity, clusterSnapshot, decodeSnapshotValue } from '@bailiff/schemas';
import type { Cancel, Clock } from '@bailiff/service';

/** One get of a small value. A name changes only with the configuration of ipam-sync. */
const READ_EVERY_MS = 30_000;

export interface ClusterReaderOptions {
  bucket: Bucket;
  clock: Clock;
  onError(error: Error): void;
}

export class ClusterReader {
  readonly #o: ClusterReaderOptions;
  identity: ClusterIdentity | undefined;

  constructor(options: ClusterReaderOptions) {
    this.#o = options;
  }

  /** Returns a function that ends it. */
  start(): Cancel {
    return this.#o.clock.setRepeating(() => void this.read(), READ_EVERY_MS);
  }

  /** Never rejects: a failed read is reported, and the next one follows. */
  async read(): Promise<void> {
    try {
      const entry = await this.#o.bucket.newest(CLUSTER_KEY);
      if (!entry || entry.deleted) return;
      const { cluster } = clusterSnapshot.parse(JSON.parse(decodeSnapshotValue(entry.value)));
      if (cluster) this.identity = { uid: cluster.uid || (this.identity?.uid ?? ''), name: cluster.name };
    } catch (error) {
      this.#o.onError(error as Error);
    }
  }
}
