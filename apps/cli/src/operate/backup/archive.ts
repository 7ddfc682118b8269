/**
 * The file of a backup: a tar file with one snapshot per stream, then the manifest.
 *
 * Written and read in pieces, so memory does not depend on its size. A file without a manifest is
 * an interrupted backup. Only its owner may read it: it has everything that is on the bus.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { CliError } from '../../shared/errors.ts';
import { createFile } from '../../shared/files.ts';
import { BLOCK_BYTES, headerOf, paddingOf, parseHeader } from '../../shared/tar.ts';
import { fileOf, MANIFEST, MAX_MANIFEST_BYTES, type Manifest, type Part, parseManifest } from './manifest.ts';

/** Size of one read. A restore sends each piece as one message, so it is below `max_payload`. */
const PIECE_BYTES = 128 * 1024;
/** Tar ends with two blocks of zeros. */
const END_BYTES = 2 * BLOCK_BYTES;

export class ArchiveWriter {
  readonly #file: FileHandle;
  #at = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws CliError CLI_USAGE if the file exists */
  static async create(path: string): Promise<ArchiveWriter> {
    return new ArchiveWriter(await createFile(path));
  }

  /** Adds one file. `fill` calls `write` for each piece, in order. */
  async add<T>(name: string, fill: (write: (piece: Uint8Array) => Promise<void>) => Promise<T>) {
    const start = this.#at;
    this.#at += BLOCK_BYTES;
    const hash = createHash('sha256');
    let bytes = 0;
    const result = await fill(async (piece) => {
      hash.update(piece);
      bytes += piece.length;
      await this.#write(piece);
    });
    await this.#write(Buffer.alloc(paddingOf(bytes)));
    // Its size is known only now.
    await this.#file.write(headerOf(name, bytes, Date.now()), 0, BLOCK_BYTES, start);
    return { result, bytes, sha256: hash.digest('hex') };
  }

  /** @returns size of the file */
  async finish(manifest: Manifest): Promise<number> {
    const text = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
    await this.add(MANIFEST, (write) => write(text));
    await this.#write(Buffer.alloc(END_BYTES));
    await this.#file.sync();
    return this.#at;
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#at);
      done += bytesWritten;
      this.#at += bytesWritten;
    }
  }
}

/** Four times what a backup has. A hostile file has millions of empty ones. */
const MAX_ENTRIES = 64;

interface Entry {
  at: number;
  bytes: number;
}

export class ArchiveReader implements AsyncDisposable {
  readonly manifest: Manifest;
  readonly #file: FileHandle;
  readonly #entries: ReadonlyMap<string, Entry>;

  private constructor(file: FileHandle, entries: ReadonlyMap<string, Entry>, manifest: Manifest) {
    this.#file = file;
    this.#entries = entries;
    this.manifest = manifest;
  }

  /** Reads headers and manifest. @throws CliError CLI_USAGE if the file is not a complete backup */
  static async open(path: string): Promise<ArchiveReader> {
    const file = await open(path, 'r');
    const refuse = (why: string, cause?: unknown): never => {
      const remedy = 'use another backup: this one cannot be restored';
      throw new CliError('CLI_USAGE', `${path}: ${why}`, { cause, remedy });
    };
    try {
      if (!(await file.stat()).isFile()) return refuse('it is not a regular file');
      const entries = await entriesOf(file);
      if (entries === null) return refuse('it has other files than a backup has');
      const entry = entries.get(MANIFEST);
      if (!entry) return refuse(`it has no ${MANIFEST}`);
      if (entry.bytes > MAX_MANIFEST_BYTES) return refuse(`${MANIFEST} is too large`);
      const text = Buffer.alloc(entry.bytes);
      await file.read(text, 0, entry.bytes, entry.at);
      let manifest: Manifest;
      try {
        manifest = parseManifest(text.toString('utf8'));
      } catch (cause) {
        return refuse((cause as Error).message, cause);
      }
      return new ArchiveReader(file, entries, manifest);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The snapshot of a stream. @throws CliError CLI_USAGE if its size differs from the manifest */
  async *pieces({ name, bytes }: Part): AsyncGenerator<Uint8Array> {
    const entry = this.#entries.get(fileOf(name));
    if (entry?.bytes !== bytes) throw damaged(name);
    for (let done = 0; done < bytes; ) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, bytes - done));
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, entry.at + done);
      if (bytesRead === 0) throw damaged(name);
      done += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  }

  /** @throws CliError CLI_USAGE if the SHA-256 of a snapshot differs from the manifest */
  async verify(): Promise<void> {
    for (const part of this.manifest.streams) {
      const hash = createHash('sha256');
      for await (const piece of this.pieces(part)) hash.update(piece);
      if (hash.digest('hex') !== part.sha256) throw damaged(part.name);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close();
  }
}

const damaged = (stream: string) =>
  new CliError('CLI_USAGE', `the snapshot of ${stream} is damaged: its SHA-256 differs from the manifest`, {
    remedy: 'use another backup; nothing was restored from this one',
  });

/** Null if they are too many, or two have one name: other tools could read the other one. */
async function entriesOf(file: FileHandle): Promise<Map<string, Entry> | null> {
  const entries = new Map<string, Entry>();
  const { size } = await file.stat();
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at + BLOCK_BYTES <= size; ) {
    await file.read(block, 0, BLOCK_BYTES, at);
    const header = parseHeader(block);
    // The end of the file. In an interrupted backup, the manifest is missing.
    if (!header) break;
    at += BLOCK_BYTES;
    if (entries.has(header.name) || entries.size >= MAX_ENTRIES) return null;
    entries.set(header.name, { at, bytes: header.bytes });
    at += header.bytes + paddingOf(header.bytes);
  }
  return entries;
}
