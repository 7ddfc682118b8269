/**
 * The files of a log: its hashes, the place of each message, and its newest signed head.
 *
 * `hashes-<n>` has the hashes of all complete subtrees of 256^n leaves, 32 bytes each: tile m of level n
 * (C2SP tlog-tiles) is the m-th 8 KiB of it. `index-<stream>-<created>` has a sequence and the index of its
 * leaf, 8 bytes each, both increasing. A stream that was restored from an older backup repeats sequences under
 * its former time of creation: their places are in a further file, `.1`, `.2`, …, whose places come first. Files only grow. Invariants: hashes and index are on disk before the
 * head that covers them, and a head is on disk before anything outside sees it, so that a start never signs
 * another tree of the same size. A start cuts off the entries after the newest head and adds them again.
 * Limits: 48 bytes per message on disk; in memory the messages since the last head, at most MAX_ADDED;
 * MAX_RUNS files of places for a stream.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { EvidenceError } from '../error.ts';
import { checkpointIn } from '../log/checkpoint.ts';
import { HASH_BYTES, nodeHash } from '../log/merkle.ts';

const TILE_LEVELS = 8;
/** Of a complete tile. */
export const TILE_HASHES = 2 ** TILE_LEVELS;
const PLACE_BYTES = 16;
/** After this many added messages, a head is written at once: 3 MB. */
export const MAX_ADDED = 65_536;
/** A stream is rarely restored. The source of a copy cannot have it make more files. */
const MAX_RUNS = 1_000;
const HEAD = 'checkpoint';
/** Begin of the name of a head that is being written. */
const NEW_HEAD = `.${HEAD}.`;

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** A message in a log. */
export interface Leaf {
  stream: string;
  /** When the stream was created. */
  created: number;
  sequence: number;
  hash: Buffer;
}

/** Reads a log up to its newest head. */
export class LogReader {
  readonly directory: string;
  readonly #files = new Map<string, number>();
  /** The signed head; empty: the log has none yet. */
  note = '';
  size = 0;

  /** @throws EvidenceError EVIDENCE_FORMAT if the head is damaged; errors of the file system */
  constructor(directory: string) {
    this.directory = directory;
    try {
      this.note = readFileSync(path.join(directory, HEAD), 'utf8');
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (this.note !== '') this.size = checkpointIn(this.note).size;
  }

  /** @param flags of the first open */
  protected file(name: string, flags = 'r'): number {
    const known = this.#files.get(name);
    if (known !== undefined) return known;
    const file = openSync(path.join(this.directory, name), flags, 0o644);
    this.#files.set(name, file);
    return file;
  }

  protected read(name: string, at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    if (readSync(this.file(name), bytes, 0, length, at) !== length) {
      throw new EvidenceError('EVIDENCE_LOG', `${path.join(this.directory, name)} is shorter than its head says`);
    }
    return bytes;
  }

  /** Hash of a complete subtree, for proofs. */
  readonly at = (level: number, index: number): Uint8Array => {
    const tile = Math.floor(level / TILE_LEVELS);
    const count = 2 ** (level % TILE_LEVELS);
    const bytes = this.read(`hashes-${tile}`, index * count * HASH_BYTES, count * HASH_BYTES);
    let hashes = Array.from({ length: count }, (_, at) => bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES));
    while (hashes.length > 1) {
      hashes = Array.from({ length: hashes.length / 2 }, (_, at) =>
        nodeHash(hashes[2 * at] as Buffer, hashes[2 * at + 1] as Buffer),
      );
    }
    return hashes[0] as Buffer;
  };

  #placeAt(name: string, number: number): { sequence: number; index: number } {
    const bytes = this.read(name, number * PLACE_BYTES, PLACE_BYTES);
    return { sequence: Number(bytes.readBigUInt64BE(0)), index: Number(bytes.readBigUInt64BE(8)) };
  }

  /** Number of the first place that is not below a sequence, or an index. */
  #firstPlace(name: string, of: 'sequence' | 'index', wanted: number): number {
    let [low, high] = [0, this.#places(name)];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#placeAt(name, middle)[of] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Index of a message's leaf; null if it is not below the head. */
  find(stream: string, createdMicros: number, sequence: number): number | null {
    for (const name of this.runs(stream, createdMicros)) {
      const number = this.#firstPlace(name, 'sequence', sequence);
      if (number >= this.#places(name)) continue;
      const found = this.#placeAt(name, number);
      if (found.sequence === sequence && found.index < this.size) return found.index;
    }
    return null;
  }

  /** Whether the newest message with this sequence has this leaf. */
  has(stream: string, createdMicros: number, sequence: number, leaf: Uint8Array): boolean {
    const index = this.find(stream, createdMicros, sequence);
    return index !== null && Buffer.compare(this.at(0, index), leaf) === 0;
  }

  /** Files of the places of a stream, the newest first; never empty. */
  protected runs(stream: string, createdMicros: number): [string, ...string[]] {
    const names: [string, ...string[]] = [indexName(stream, createdMicros)];
    for (;;) {
      const next = runName(stream, createdMicros, names.length);
      if (this.#places(next) === 0) return names;
      names.unshift(next);
    }
  }

  /** The leaves from an index on, at most `most` and those below the head, for a copy. */
  leaves(from: number, most: number): Leaf[] {
    const count = Math.max(0, Math.min(most, this.size - from));
    if (count === 0) return [];
    const hashes = this.read('hashes-0', from * HASH_BYTES, count * HASH_BYTES);
    const leaves: Leaf[] = [];
    for (const name of readdirSync(this.directory)) {
      const [, stream = '', created = ''] = INDEX_NAME.exec(name) ?? [];
      if (stream === '') continue;
      const end = this.#firstPlace(name, 'index', from + count);
      for (let number = this.#firstPlace(name, 'index', from); number < end; number++) {
        const { sequence, index } = this.#placeAt(name, number);
        const at = (index - from) * HASH_BYTES;
        leaves[index - from] = {
          stream,
          created: Number(created),
          sequence,
          hash: hashes.subarray(at, at + HASH_BYTES),
        };
      }
    }
    return leaves;
  }

  /** Hashes of a tile below the head (C2SP tlog-tiles); null if it has fewer. */
  tile(level: number, tile: number, width: number): Buffer | null {
    const complete = Math.floor(this.size / TILE_HASHES ** level);
    const first = tile * TILE_HASHES;
    if (first + width > complete) return null;
    return this.read(`hashes-${level}`, first * HASH_BYTES, width * HASH_BYTES);
  }

  #places(name: string): number {
    try {
      return Math.floor(fstatSync(this.file(name)).size / PLACE_BYTES);
    } catch (error) {
      if (isMissing(error)) return 0;
      throw error;
    }
  }

  /** Newest sequence of a stream in the log; 0: none. */
  last(stream: string, createdMicros: number): number {
    const [name] = this.runs(stream, createdMicros);
    const places = this.#places(name);
    return places === 0 ? 0 : this.#placeAt(name, places - 1).sequence;
  }

  /** Cuts off the places of leaves that no head covers. */
  protected cutPlaces(name: string): void {
    let places = this.#places(name);
    while (places > 0 && this.#placeAt(name, places - 1).index >= this.size) places--;
    truncate(this.file(name), places * PLACE_BYTES);
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }
}

/** On disk before the next head, which may cover the number of an entry that was cut off. */
function truncate(file: number, length: number): void {
  ftruncateSync(file, length);
  fdatasyncSync(file);
}

const INDEX_NAME = /^index-([A-Z_]+)-(\d{1,16})(?:\.\d{1,3})?$/;
const indexName = (stream: string, createdMicros: number): string => `index-${stream}-${createdMicros}`;
const runName = (stream: string, createdMicros: number, run: number): string =>
  run === 0 ? indexName(stream, createdMicros) : `${indexName(stream, createdMicros)}.${run}`;

/** Appends to a log. One process at a time. */
export class LogWriter extends LogReader {
  readonly #added = new Map<string, Buffer[]>();
  #open = 0;
  /** The newest run of each stream, and its last sequence. */
  readonly #newest = new Map<string, { run: number; last: number }>();

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    super(directory);
    const names = readdirSync(directory);
    for (const name of names) {
      if (name.startsWith('index-')) this.#begin(name);
      // Of a process that was killed before it renamed it.
      if (name.startsWith(NEW_HEAD)) rmSync(path.join(directory, name));
    }
    // A process that was killed before its head may have begun a level that no head has reached.
    const isBegun = (level: number) => names.includes(`hashes-${level}`);
    for (let level = 0; level === 0 || TILE_HASHES ** level <= this.size || isBegun(level); level++) {
      const length = Math.floor(this.size / TILE_HASHES ** level) * HASH_BYTES;
      const file = this.#begin(`hashes-${level}`);
      if (fstatSync(file).size < length) this.read(`hashes-${level}`, 0, length);
      truncate(file, length);
    }
    for (const name of names) if (name.startsWith('index-')) this.cutPlaces(name);
  }

  #begin(name: string): number {
    return this.file(name, 'a+');
  }

  /** Messages that no head covers yet. */
  get open(): number {
    return this.#open;
  }

  /** @throws EvidenceError EVIDENCE_LOG above MAX_RUNS */
  add(stream: string, createdMicros: number, sequence: number, leaf: Buffer): void {
    const key = indexName(stream, createdMicros);
    const { run, last } = this.#newest.get(key) ?? {
      run: this.runs(stream, createdMicros).length - 1,
      last: this.last(stream, createdMicros),
    };
    const newest = { run: sequence <= last ? run + 1 : run, last: sequence };
    if (newest.run >= MAX_RUNS)
      throw new EvidenceError('EVIDENCE_LOG', `${stream} repeats its sequences more than ${MAX_RUNS} times`);
    this.#newest.set(key, newest);
    const place = Buffer.alloc(PLACE_BYTES);
    place.writeBigUInt64BE(BigInt(sequence), 0);
    place.writeBigUInt64BE(BigInt(this.size + this.#open), 8);
    this.#put(runName(stream, createdMicros, newest.run), place);
    this.#put('hashes-0', leaf);
    this.#open++;
  }

  #put(name: string, bytes: Buffer): void {
    const all = this.#added.get(name);
    if (all) all.push(bytes);
    else this.#added.set(name, [bytes]);
  }

  #write(name: string, expected: number | null): void {
    const file = this.#begin(name);
    const before = fstatSync(file).size;
    const bytes = Buffer.concat(this.#added.get(name) ?? []);
    writeSync(file, bytes);
    fdatasyncSync(file);
    // Compared after the write: of two processes that append at the same time, at most one sees its own bytes alone.
    if (before !== (expected ?? before) || fstatSync(file).size !== before + bytes.length) {
      throw new EvidenceError(
        'EVIDENCE_LOG',
        `${path.join(this.directory, name)} does not have the expected length: the disk is full, or another process writes to it`,
      );
    }
    this.#added.delete(name);
  }

  /**
   * Stores the added messages and their head. @param sign makes the signed head of the new size
   * @throws EvidenceError EVIDENCE_LOG; errors of the file system. Afterwards this object must not be used
   */
  flush(sign: (size: number) => string): void {
    this.append();
    this.storeHead(sign(this.size));
  }

  /** Stores the added messages, which stay only with a head: storeHead. @throws as flush */
  append(): void {
    const size = this.size + this.#open;
    this.#write('hashes-0', this.size * HASH_BYTES);
    for (let level = 1; TILE_HASHES ** level <= size; level++) {
      const [from, to] = [this.size, size].map((leaves) => Math.floor(leaves / TILE_HASHES ** level)) as [
        number,
        number,
      ];
      for (let tile = from; tile < to; tile++) this.#put(`hashes-${level}`, this.#rootOfTile(level, tile));
      this.#write(`hashes-${level}`, from * HASH_BYTES);
    }
    const places = [...this.#added.keys()];
    for (const name of places) this.#write(name, null);
    this.size = size;
    this.#open = 0;
  }

  /** Replaces the head. @param note of the same text, such as with more signatures */
  storeHead(note: string): void {
    const temporary = path.join(this.directory, `${NEW_HEAD}${randomBytes(4).toString('hex')}`);
    // Names of new files too.
    this.#syncDirectory();
    writeFileSync(temporary, note, { flush: true });
    renameSync(temporary, path.join(this.directory, HEAD));
    this.#syncDirectory();
    this.note = note;
  }

  #syncDirectory(): void {
    const directory = openSync(this.directory, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }

  /** From the level below, which is written already. */
  #rootOfTile(level: number, tile: number): Buffer {
    const half = TILE_LEVELS * level - 1;
    return nodeHash(this.at(half, 2 * tile), this.at(half, 2 * tile + 1));
  }
}
