/**
 * The identity of the cluster, which every event names: read from the list of the cluster that
 * ipam-sync writes. Kept if a later list lacks it. Events have none until it is known.
 */
import { CLUSTER_KEY, type ClusterIdentity, clusterSnapshot, decodeSnapshotValue } from '@bailiff/schemas';
import type { Bus } from '../connection/connect.ts';
import { openBucket } from './bucket.ts';

/** One get of a small value. A name changes only with the configuration of ipam-sync. */
const READ_EVERY_MS = 30_000;

export interface ClusterReaderOptions {
  bus: Bus;
  clock: { setRepeating(run: () => void, everyMs: number): () => void };
  onError(error: Error): void;
}

export class ClusterReader {
  readonly #o: ClusterReaderOptions;
  identity?: ClusterIdentity | undefined;

  constructor(options: ClusterReaderOptions) {
    this.#o = options;
  }

  /** Resolves when the first read has ended, to a function that ends reading. */
  async start(): Promise<() => void> {
    await this.#read();
    return this.#o.clock.setRepeating(() => void this.#read(), READ_EVERY_MS);
  }

  /** Never rejects: a failed read is reported, and the next one follows. */
  async #read(): Promise<void> {
    try {
      const cluster = await readCluster(this.#o.bus);
      if (cluster) this.identity = { uid: cluster.uid || (this.identity?.uid ?? ''), name: cluster.name };
    } catch (error) {
      this.#o.onError(error as Error);
    }
  }
}

/** undefined: not known. @throws BusError; Error for a value of another shape */
export async function readCluster(bus: Bus): Promise<ClusterIdentity | undefined> {
  const entry = await openBucket(bus, 'bailiff_pods').newest(CLUSTER_KEY);
  if (!entry || entry.deleted) return undefined;
  return clusterSnapshot.parse(JSON.parse(decodeSnapshotValue(entry.value))).cluster;
}
