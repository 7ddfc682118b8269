/**
 * Follows one key without a consumer on the server: every collector follows its keys of
 * bailiff_pods and bailiff_quarantine with it. snapshot-follower.ts states what holds for it.
 */

import type { KvEntry } from './bucket.ts';
import type { CopiedEntry, Place } from './bucket-copy.ts';
import { type FollowerBuses, type FollowerOptions, SnapshotFollower } from './snapshot-follower.ts';

export interface SnapshotOptions extends FollowerOptions {
  /** Receives each newer value, tombstones included (`deleted`). */
  onSnapshot: (entry: KvEntry) => void;
  /** The key does not exist. Called once until it does. */
  onMissing?: () => void;
}

/** Follows one key. Starts at once; the caller closes it. */
export class SnapshotReader extends SnapshotFollower {
  readonly #key: string;
  readonly #snapshotOptions: SnapshotOptions;
  #missing = false;
  #delivered: Place | null = null;
  /** The last entry that was read, with its place in the copy. */
  #lastRead: CopiedEntry | null = null;

  constructor(buses: FollowerBuses, bucket: string, key: string, options: SnapshotOptions) {
    super(buses, bucket, key, options);
    this.#key = key;
    this.#snapshotOptions = options;
    this.begin();
  }

  /** Revision of the last delivered value; 0 = none. */
  get revision(): number {
    return this.#delivered?.revision ?? 0;
  }

  protected override async read(): Promise<'certain' | 'doubtful'> {
    const { found, stream } = await this.copy.newest(this.#key);
    if (this.closed) return 'certain';
    // A copy that was just created is empty until the server has read its bucket.
    if (!found && this.#lastRead && this.#lastRead.stream !== stream) return 'doubtful';
    const life = this.#lifeOf(found);
    if (life === 'unknown' && this.mayBeBehind()) return 'doubtful';
    if (life !== 'same') this.startOver();
    this.#lastRead = found;
    if (found) {
      // The copy lags behind a push. Or both restarted before it: a backup was restored.
      const isBehind = found.entry.revision < this.revision;
      if (isBehind && (found.entry.revision !== this.laterPush || this.mayBeBehind())) return 'doubtful';
      if (isBehind) {
        this.startOver();
        this.#lastRead = found;
      }
      this.accept(found.entry);
      return 'certain';
    }
    if (this.#delivered) return 'doubtful';
    if (!this.#missing) this.#snapshotOptions.onMissing?.();
    this.#missing = true;
    return 'certain';
  }

  /** Whether the copy was recreated since the last read. Unknown: the responding server may lag. */
  #lifeOf(found: CopiedEntry | null): 'same' | 'other' | 'unknown' {
    const last = this.#lastRead;
    if (last === null || (found && found.stream !== last.stream)) return 'same';
    const place = found?.place ?? { revision: 0, timestampMicros: 0 };
    if (place.revision < last.place.revision) return 'unknown';
    if (place.revision === last.place.revision)
      return place.timestampMicros === last.place.timestampMicros ? 'same' : 'other';
    // Within one life, a later message of the copy has a later revision.
    return (found?.entry.revision ?? 0) > last.entry.revision ? 'same' : 'other';
  }

  /** A push comes from the leader, so no replica lag is involved. */
  protected override onOtherLineage(entry: KvEntry): void {
    this.startOver();
    this.accept(entry);
  }
  protected override deliveredOf(): Place | null {
    return this.#delivered;
  }
  protected override revisionOf(): number | null {
    return this.revision;
  }
  protected override recordDelivery({ revision, timestampMicros }: KvEntry): boolean {
    this.#missing = false;
    this.#delivered = { revision, timestampMicros };
    return true;
  }
  protected override reset(): void {
    this.#delivered = null;
    this.#lastRead = null;
  }
  protected override deliver(entry: KvEntry): void {
    this.#snapshotOptions.onSnapshot(entry);
  }
}
