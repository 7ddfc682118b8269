/**
 * Counters of every interface generation, and the part that the bus acknowledged. Both are in
 * kernel maps while there is room. Generations that are gone move to files to make room for live
 * ones: `<stateDir>/<bootId>/owed-<ifindex>-<generation>.json`. Readers see no difference.
 *
 * Data path: guard and flusher → here → maps or files. Invariant: a count is removed only after it
 * is acknowledged, or when the guard reports it as forgotten. Limit: MAX_ARCHIVED files.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { COUNTER_NUMBERS, type CounterTable, type IfaceKey } from '@bailiff/bpf';
import * as z from 'zod';
import type { AckedMap } from './acked-map.ts';
import { CELLS } from './epochs.ts';

/**
 * Limit of archived generations: some hours of a node that starts a pod every few seconds while the
 * bus is unavailable.
 */
export const MAX_ARCHIVED = 4096;

/** Index and value of the numbers that are not zero. */
const sparse = (max: number) =>
  z.array(
    z.tuple([
      z
        .number()
        .int()
        .min(0)
        .max(max - 1),
      z.number().nonnegative(),
    ]),
  );
const archiveFile = z.object({
  ifindex: z.number().int().positive(),
  generation: z.number().int().positive(),
  counters: sparse(COUNTER_NUMBERS),
  acked: sparse(CELLS),
});
type Archived = z.output<typeof archiveFile>;

const toSparse = (numbers: Float64Array): [number, number][] =>
  [...numbers.entries()].filter(([, value]) => value !== 0);

function fill(into: Float64Array, entries: Archived['counters']): Float64Array {
  into.fill(0);
  for (const [index, value] of entries) into[index] = value;
  return into;
}

export interface CounterStoreOptions {
  /** `<stateDir>/<bootId>`. */
  dir: string;
  counters: CounterTable;
  acked: Pick<AckedMap, 'read' | 'write' | 'delete' | 'keys'>;
  /** Default MAX_ARCHIVED. */
  maxArchived?: number;
  onProblem(problem: { file: string; reason: string }): void;
}

export class CounterStore {
  readonly #dir: string;
  readonly #counters: CounterTable;
  readonly #acked: CounterStoreOptions['acked'];
  readonly #onProblem: (problem: { file: string; reason: string }) => void;
  readonly #maxArchived: number;
  readonly #archived = new Map<number, Archived>();

  constructor(options: CounterStoreOptions) {
    this.#dir = options.dir;
    this.#counters = options.counters;
    this.#acked = options.acked;
    this.#maxArchived = options.maxArchived ?? MAX_ARCHIVED;
    this.#onProblem = options.onProblem;
  }

  #file({ ifindex, generation }: IfaceKey): string {
    return path.join(this.#dir, `owed-${ifindex}-${generation}.json`);
  }

  /**
   * Reads the files and returns their generations. A generation that is still in the kernel counts
   * there: the earlier process ended between writing the file and removing the map entry.
   */
  load(): IfaceKey[] {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#dir)) {
      if (!/^owed-\d+-\d+\.json$/.test(name)) continue;
      const file = path.join(this.#dir, name);
      try {
        const archived = archiveFile.parse(JSON.parse(readFileSync(file, 'utf8')));
        if (this.#file(archived) !== file) throw new Error('the file belongs to another interface');
        if (this.#counters.read(archived) !== undefined) rmSync(file, { force: true });
        else this.#archived.set(archived.generation, archived);
      } catch (error) {
        this.#onProblem({ file, reason: (error as Error).message });
      }
    }
    return [...this.#archived.values()].map(({ ifindex, generation }) => ({ ifindex, generation }));
  }

  get archivedCount(): number {
    return this.#archived.size;
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
    fill(into, archived.counters);
    return true;
  }

  acked(key: IfaceKey): Float64Array | undefined {
    const archived = this.#archived.get(key.generation);
    return archived ? fill(new Float64Array(CELLS), archived.acked) : this.#acked.read(key);
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
    if (this.#archived.size >= this.#maxArchived || !this.#counters.readInto(key, counters)) return false;
    const acked = this.#acked.read(key) ?? new Float64Array(CELLS);
    const { ifindex, generation } = key;
    if (!this.#save({ ifindex, generation, counters: toSparse(counters), acked: toSparse(acked) })) return false;
    this.#counters.delete(key);
    this.#acked.delete(key);
    return true;
  }

  #save(archived: Archived): boolean {
    const file = this.#file(archived);
    try {
      writeFileSync(`${file}.new`, JSON.stringify(archived), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      this.#onProblem({ file, reason: (error as Error).message });
      if (!this.#archived.has(archived.generation)) return false;
    }
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
      const file = this.#file(key);
      try {
        rmSync(file, { force: true });
      } catch (error) {
        this.#onProblem({ file, reason: (error as Error).message });
      }
      return;
    }
    this.#counters.delete(key);
    this.#acked.delete(key);
  }
}
