/**
 * The files of a log: its hashes, the place of each message, and its newest signed head.
 *
 * `hashes-<n>` has the hashes of all complete subtrees of 256^n leaves, 32 bytes each: tile m of level n
 * (C2SP tlog-tiles) is the m-th 8 KiB of it. `index-<stream>-<created>` has a sequence and the index of its
 * leaf, 8 bytes each, both increasing. Files only grow. Invariant: hashes and index are on disk before the
 * head that covers them. A start cuts off the entries after the newest head and adds them again.
 * Limits: 48 bytes per message on disk; in memory the messages since the last head, at most MAX_ADDED.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { checkpointIn, HASH_BYTES, nodeHash } from '@bailiff/evidence';
import { CliError } from '../shared/errors.ts';

const TILE_LEVELS = 8;
const TILE_HASHES = 2 ** TILE_LEVELS;
const PLACE_BYTES = 16;
/** After this many added messages, a head is written at once: 3 MB. */
export const MAX_ADDED = 65_536;
const HEAD = 'checkpoint';

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Reads a log up to its newest head. */
export class LogReader {
  readonly directory: string;
  readonly #files = new Map<string, number>();
  /** The signed head; empty: the log has none yet. */
  note = '';
  size = 0;

  /** @throws CliError CLI_STATE if the head is damaged; errors of the file system */
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
    const known = this.#files.get(name) ?? openSync(path.join(this.directory, name), flags, 0o644);
    this.#files.set(name, known);
    return known;
  }

  protected read(name: string, at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    if (readSync(this.file(name), bytes, 0, length, at) !== length) {
      throw new CliError('CLI_STATE', `${path.join(this.directory, name)} is shorter than its head says`, {
        remedy: 'restore the directory of the log from a backup that is not older than its newest head',
      });
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

  /** Index of a message's leaf; null if it is not below the head. */
  find(stream: string, createdMicros: number, sequence: number): number | null {
    const name = indexName(stream, createdMicros);
    let [low, high] = [0, this.#places(name)];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#placeAt(name, middle).sequence < sequence) low = middle + 1;
      else high = middle;
    }
    if (low >= this.#places(name)) return null;
    const found = this.#placeAt(name, low);
    return found.sequence === sequence && found.index < this.size ? found.index : null;
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
    const name = indexName(stream, createdMicros);
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

const indexName = (stream: string, createdMicros: number): string => `index-${stream}-${createdMicros}`;

/** Appends to a log. One process at a time. */
export class LogWriter extends LogReader {
  readonly #added = new Map<string, Buffer[]>();
  #open = 0;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    super(directory);
    for (const name of readdirSync(directory)) if (name.startsWith('index-')) this.#begin(name);
    for (let level = 0; level === 0 || TILE_HASHES ** level <= this.size; level++) {
      const length = Math.floor(this.size / TILE_HASHES ** level) * HASH_BYTES;
      const file = this.#begin(`hashes-${level}`);
      if (fstatSync(file).size < length) this.read(`hashes-${level}`, 0, length);
      truncate(file, length);
    }
    for (const name of readdirSync(directory)) if (name.startsWith('index-')) this.cutPlaces(name);
  }

  #begin(name: string): number {
    return this.file(name, 'a+');
  }

  /** Messages that no head covers yet. */
  get open(): number {
    return this.#open;
  }

  add(stream: string, createdMicros: number, sequence: number, leaf: Buffer): void {
    const place = Buffer.alloc(PLACE_BYTES);
    place.writeBigUInt64BE(BigInt(sequence), 0);
    place.writeBigUInt64BE(BigInt(this.size + this.#open), 8);
    this.#put(indexName(stream, createdMicros), place);
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
    if (expected !== null && fstatSync(file).size !== expected) {
      throw new CliError('CLI_STATE', `another process writes to ${this.directory}`, {
        remedy: 'run one `bailiff evidence log` for a directory',
      });
    }
    writeSync(file, Buffer.concat(this.#added.get(name) ?? []));
    fdatasyncSync(file);
    this.#added.delete(name);
  }

  /**
   * Stores the added messages and their head. @param sign makes the signed head of the new size
   * @throws CliError CLI_STATE; errors of the file system, after which this object must not be used
   */
  flush(sign: (size: number) => string): void {
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
    this.note = sign(size);
    const temporary = path.join(this.directory, `.${HEAD}.${randomBytes(4).toString('hex')}`);
    writeFileSync(temporary, this.note, { flush: true });
    renameSync(temporary, path.join(this.directory, HEAD));
  }

  /** From the level below, which is written already. */
  #rootOfTile(level: number, tile: number): Buffer {
    const half = TILE_LEVELS * level - 1;
    return nodeHash(this.at(half, 2 * tile), this.at(half, 2 * tile + 1));
  }
}
