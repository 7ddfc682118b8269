/**
 * The counts of every generation, and how much of them the bus has: the kernel's counters and the pinned acknowledgements while there is
 * room, a file each for gone generations that had to make room for live ones. Readers see no difference.
 *
 * Place in the path: guard and flusher -> here -> maps or `<stateDir>/<bootId>/owed-*.json`. Invariant: a count is removed only when it
 * is settled, or forgotten loudly (`onForgotten`). Bound: MAX_OWED files.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { COUNTER_NUMBERS, type CounterTable, type IfaceKey } from '@bailiff/bpf';
import * as z from 'zod';
import type { AckedMap } from './acked-map.ts';
import { CELLS } from './epochs.ts';

/** Gone generations kept as files at most: some hours of a node that starts a pod every few seconds with the bus away. */
export const MAX_OWED = 4096;

/** Index and value of what is not zero. */
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
const owedFile = z.object({
  ifindex: z.number().int().positive(),
  generation: z.number().int().positive(),
  counters: sparse(COUNTER_NUMBERS),
  acked: sparse(CELLS),
});
type Owed = z.output<typeof owedFile>;

const toSparse = (numbers: Float64Array): [number, number][] =>
  [...numbers.entries()].filter(([, value]) => value !== 0);

function fill(into: Float64Array, entries: Owed['counters']): Float64Array {
  into.fill(0);
  for (const [index, value] of entries) into[index] = value;
  return into;
}

export class Accounts {
  readonly #dir: string;
  readonly #counters: CounterTable;
  readonly #acked: Pick<AckedMap, 'read' | 'write' | 'delete' | 'keys'>;
  readonly #onProblem: (problem: { file: string; reason: string }) => void;
  readonly #maxOwed: number;
  readonly #owed = new Map<number, Owed>();

  constructor(options: {
    dir: string;
    counters: CounterTable;
    acked: Pick<AckedMap, 'read' | 'write' | 'delete' | 'keys'>;
    /** Default MAX_OWED. */
    maxOwed?: number;
    onProblem(problem: { file: string; reason: string }): void;
  }) {
    this.#dir = options.dir;
    this.#counters = options.counters;
    this.#acked = options.acked;
    this.#maxOwed = options.maxOwed ?? MAX_OWED;
    this.#onProblem = options.onProblem;
  }

  #file({ ifindex, generation }: IfaceKey): string {
    return path.join(this.#dir, `owed-${ifindex}-${generation}.json`);
  }

  /** Reads the files. What the kernel still has counts there: the process ended between the file and the removal of the entry. */
  load(): IfaceKey[] {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#dir)) {
      if (!/^owed-\d+-\d+\.json$/.test(name)) continue;
      const file = path.join(this.#dir, name);
      try {
        const owed = owedFile.parse(JSON.parse(readFileSync(file, 'utf8')));
        if (this.#file(owed) !== file) throw new Error('the file is of another interface');
        if (this.#counters.read(owed) !== undefined) rmSync(file, { force: true });
        else this.#owed.set(owed.generation, owed);
      } catch (error) {
        this.#onProblem({ file, reason: (error as Error).message });
      }
    }
    return [...this.#owed.values()].map(({ ifindex, generation }) => ({ ifindex, generation }));
  }

  get owedCount(): number {
    return this.#owed.size;
  }

  /** Whether a generation's counts are in a file rather than in the kernel. */
  isOwed(generation: number): boolean {
    return this.#owed.has(generation);
  }

  create(key: IfaceKey): void {
    this.#counters.create(key);
  }

  /** As CounterTable.readInto. */
  readInto(key: IfaceKey, into: Float64Array): boolean {
    const owed = this.#owed.get(key.generation);
    if (!owed) return this.#counters.readInto(key, into);
    fill(into, owed.counters);
    return true;
  }

  acked(key: IfaceKey): Float64Array | undefined {
    const owed = this.#owed.get(key.generation);
    return owed ? fill(new Float64Array(CELLS), owed.acked) : this.#acked.read(key);
  }

  writeAcked(key: IfaceKey, packets: Float64Array): void {
    const owed = this.#owed.get(key.generation);
    if (owed) this.#save({ ...owed, acked: toSparse(packets) });
    else this.#acked.write(key, packets);
  }

  /** Moves a gone generation out of the maps. False when there is no room or the disk refuses: it is as it was. */
  fold(key: IfaceKey): boolean {
    const counters = new Float64Array(COUNTER_NUMBERS);
    if (this.#owed.size >= this.#maxOwed || !this.#counters.readInto(key, counters)) return false;
    const acked = this.#acked.read(key) ?? new Float64Array(CELLS);
    const { ifindex, generation } = key;
    if (!this.#save({ ifindex, generation, counters: toSparse(counters), acked: toSparse(acked) })) return false;
    this.#counters.delete(key);
    this.#acked.delete(key);
    return true;
  }

  #save(owed: Owed): boolean {
    const file = this.#file(owed);
    try {
      writeFileSync(`${file}.new`, JSON.stringify(owed), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      this.#onProblem({ file, reason: (error as Error).message });
      if (!this.#owed.has(owed.generation)) return false;
    }
    this.#owed.set(owed.generation, owed);
    return true;
  }

  /** Removes acknowledgements of generations that nobody counts for any more. */
  dropStrays(isKnown: (generation: number) => boolean): void {
    for (const key of this.#acked.keys()) if (!isKnown(key.generation)) this.#acked.delete(key);
  }

  /** Removes all that is kept of a generation. */
  remove(key: IfaceKey): void {
    if (this.#owed.delete(key.generation)) {
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
