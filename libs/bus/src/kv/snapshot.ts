/**
 * Follows one key without a consumer on the server: every collector follows its keys of
 * bailiff_pods and bailiff_quarantine with it. snapshot-follower.ts states what holds for it.
 */

import type { KvEntry } from './bucket.ts';
import {
  type Delivered,
  type FollowerBuses,
  type FollowerOptions,
  isOtherLineage,
  SnapshotFollower,
} from './snapshot-follower.ts';

export interface SnapshotOptions extends FollowerOptions {
  /** Receives each newer value, tombstones included (`deleted`). */
  onSnapshot: (entry: KvEntry) => void;
  /** The key does not exist. Called once until it does. */
  onMissing?: () => void;
}

/** Follows one key. Starts at once; the caller closes it. */
export class SnapshotReader extends SnapshotFollower {
  private readonly key: string;
  private readonly snapshotOptions: SnapshotOptions;
  private missing = false;
  private delivered: Delivered | null = null;

  constructor(buses: FollowerBuses, bucket: string, key: string, options: SnapshotOptions) {
    super(buses, bucket, key, options);
    this.key = key;
    this.snapshotOptions = options;
    this.begin();
  }

  /** Revision of the last delivered value; 0 = none. */
  get revision(): number {
    return this.delivered?.revision ?? 0;
  }

  protected override async read(): Promise<'certain' | 'doubtful'> {
    const entry = await this.bucket.newest(this.key);
    if (this.closed) return 'certain';
    if (entry?.injected) {
      this.accept(entry);
      return 'certain';
    }
    if (this.delivered && (entry === null || entry.revision < this.delivered.revision)) {
      if (this.mayBeBehind()) return 'doubtful';
      this.startOver();
    }
    if (entry && this.delivered && isOtherLineage(this.delivered, entry)) this.startOver();
    if (entry) this.accept(entry);
    else if (!this.missing) {
      this.missing = true;
      this.snapshotOptions.onMissing?.();
    }
    return 'certain';
  }
  /** A push comes from the leader, so no replica lag is involved. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.startOver();
    this.accept(entry);
  }
  protected override deliveredOf(): Delivered | null {
    return this.delivered;
  }
  protected override revisionOf(): number | null {
    return this.revision;
  }
  protected override recordDelivery({ revision, timestampMicros }: KvEntry): boolean {
    this.missing = false;
    this.delivered = { revision, timestampMicros };
    return true;
  }
  protected override reset(): void {
    this.delivered = null;
  }
  protected override deliver(entry: KvEntry): void {
    this.snapshotOptions.onSnapshot(entry);
  }
}
