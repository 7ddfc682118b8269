/**
 * Counters of every interface generation, and the part that the bus acknowledged. Both are in
 * kernel maps while there is room. Generations that are gone move to files to make room for live
 * ones: `<stateDir>/<bootId>/owed-<ifindex>-<generation>.json`. Readers see no difference.
 *
 * Data path: guard and flusher → here → maps or files. Invariant: a count is removed only after it
 * is acknowledged, or when the guard reports it as forgotten. Limit: MAX_ARCHIVED files.
 */

import { COUNTER_NUMBERS, type CounterTable, type IfaceKey } from '@bailiff/bpf';
import { FileStore } from '@bailiff/service';
import * as z from 'zod';
import type { OnProblem } from '../../process/problem-log.ts';
import { fromSparse, sparse, toSparse } from '../../publishing/counter-ledger.ts';
import type { AckedMap } from './acked-cells.ts';
import { CELLS } from './cells.ts';

/**
 * Limit of archived generations: some hours of a node that starts a pod every few seconds while the
 * bus is unavailable.
 */
export const MAX_ARCHIVED = 4096;

const archiveFile = z.object({
  ifindex: z.number().int().positive(),
  generation: z.number().int().positive(),
  counters: sparse(COUNTER_NUMBERS),
  acked: sparse(CELLS),
});
type Archived = z.output<typeof archiveFile>;

const fileName = ({ ifindex, generation }: IfaceKey): string => `owed-${ifindex}-${generation}.json`;

export interface CounterStoreOptions {
  /** `<stateDir>/<bootId>`. */
  dir: string;
  counters: CounterTable;
  acked: Pick<AckedMap, 'read' | 'write' | 'delete' | 'keys'>;
  /** Default MAX_ARCHIVED. */
  maxArchived?: number;
  onProblem: OnProblem;
}

export class CounterStore {
  readonly #files: FileStore;
  readonly #counters: CounterTable;
  readonly #acked: CounterStoreOptions['acked'];
  readonly #maxArchived: number;
  readonly #archived = new Map<number, Archived>();

  constructor(options: CounterStoreOptions) {
    this.#files = new FileStore(options.dir, options.onProblem);
    this.#counters = options.counters;
    this.#acked = options.acked;
    this.#maxArchived = options.maxArchived ?? MAX_ARCHIVED;
  }

  /**
   * Reads the files and returns their generations. A generation that is still in the kernel counts
   * there: the earlier process ended between writing the file and removing the map entry.
   */
  load(): IfaceKey[] {
    this.#files.create();
    for (const name of this.#files.names(/^owed-\d+-\d+\.json$/)) {
      const archived = this.#files.read(name, (text) => archiveFile.parse(JSON.parse(text)));
      if (archived === undefined) continue;
      if (fileName(archived) !== name) this.#files.problem(name, 'the file belongs to another interface');
      else if (this.#counters.read(archived) !== undefined) this.#files.remove(name);
      else this.#archived.set(archived.generation, archived);
    }
    return [...this.#archived.values()].map(({ ifindex, generation }) => ({ ifindex, generation }));
  }

  get archivedCount(): number {
    return this.#archived.size;
  }

  /** No further generation fits. */
  get isFull(): boolean {
    return this.#archived.size >= this.#maxArchived;
  }

  /** Whether a generation's counts are in a file rather than in the kernel. */
  isArchived(generation: number): boolean {
    return this.#archived.has(generation);
  }

  create(key: IfaceKey): void {
    this.#counters.create(key);
  }

  /** Like CounterTable.readInto. */
  readInto(key: IfaceKey, into: Float64Array): boolean {
    const archived = this.#archived.get(key.generation);
    if (!archived) return this.#counters.readInto(key, into);
    into.set(fromSparse(COUNTER_NUMBERS, archived.counters));
    return true;
  }

  acked(key: IfaceKey): Float64Array | undefined {
    const archived = this.#archived.get(key.generation);
    return archived ? fromSparse(CELLS, archived.acked) : this.#acked.read(key);
  }

  writeAcked(key: IfaceKey, packets: Float64Array): void {
    const archived = this.#archived.get(key.generation);
    if (archived) this.#save({ ...archived, acked: toSparse(packets) });
    else this.#acked.write(key, packets);
  }

  /**
   * Moves a generation that is gone from the maps to a file. False: no room, or the disk failed;
   * nothing changed.
   */
  archive(key: IfaceKey): boolean {
    const counters = new Float64Array(COUNTER_NUMBERS);
    if (this.isFull || !this.#counters.readInto(key, counters)) return false;
    const acked = this.#acked.read(key) ?? new Float64Array(CELLS);
    const { ifindex, generation } = key;
    if (!this.#save({ ifindex, generation, counters: toSparse(counters), acked: toSparse(acked) })) return false;
    this.#counters.delete(key);
    this.#acked.delete(key);
    return true;
  }

  #save(archived: Archived): boolean {
    const isSaved = this.#files.save(fileName(archived), JSON.stringify(archived));
    if (!isSaved && !this.#archived.has(archived.generation)) return false;
    this.#archived.set(archived.generation, archived);
    return true;
  }

  /** Removes acknowledged counts of unknown generations. */
  removeStrays(isKnown: (generation: number) => boolean): void {
    for (const key of this.#acked.keys()) if (!isKnown(key.generation)) this.#acked.delete(key);
  }

  /** Removes everything that is stored of a generation. */
  remove(key: IfaceKey): void {
    if (this.#archived.delete(key.generation)) {
      this.#files.remove(fileName(key));
      return;
    }
    this.#counters.delete(key);
    this.#acked.delete(key);
  }
}
