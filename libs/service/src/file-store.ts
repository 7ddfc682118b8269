/**
 * A directory of small files that are replaced atomically: written under a temporary name, then
 * renamed. A process that is killed leaves the old or the new content, never a part of it.
 *
 * Only the owner may read the files of a store. A failed disk operation is reported and never thrown.
 */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const MODE = 0o600;

export interface ReplaceOptions {
  /** Whether the content must survive a power failure. */
  durable?: boolean;
  mode?: number;
}

/**
 * Replaces one file; a symbolic link under its name is replaced and not followed. A program that
 * runs from the old file keeps it.
 */
export function replaceFile(
  file: string,
  content: string | Uint8Array,
  { durable = false, mode = MODE }: ReplaceOptions = {},
): void {
  const next = `${file}.new`;
  const descriptor = createFile(next, mode);
  try {
    fchmodSync(descriptor, mode);
    writeFileSync(descriptor, content);
    if (durable) fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(next, file);
  if (durable) syncDirectory(path.dirname(file));
}

/** Names of the directory's files are on disk. */
function syncDirectory(dir: string): void {
  const descriptor = openSync(dir, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The name may be left over from a killed process, or be a link of another program. */
function createFile(file: string, mode: number): number {
  try {
    return openSync(file, 'wx', mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    rmSync(file, { force: true });
    return openSync(file, 'wx', mode);
  }
}

const makeDirectory = (dir: string): void => void mkdirSync(dir, { recursive: true, mode: 0o700 });

export class FileStore {
  readonly #dir: string;
  readonly #onProblem: (file: string, reason: string) => void;

  constructor(dir: string, onProblem: (file: string, reason: string) => void) {
    this.#dir = dir;
    this.#onProblem = onProblem;
  }

  /** Creates the directory. */
  create(): void {
    this.#attempt(this.#dir, () => makeDirectory(this.#dir));
  }

  /** Names of the files that match; none without the directory. */
  names(pattern: RegExp): string[] {
    const all = this.#attempt(this.#dir, () => readdirSync(this.#dir), 'ENOENT') ?? [];
    return all.filter((name) => pattern.test(name));
  }

  /** A file as `parse` returns it; undefined, with a report, if it cannot be read or parsed. */
  read<T>(name: string, parse: (text: string) => T): T | undefined {
    const file = path.join(this.#dir, name);
    return this.#attempt(file, () => parse(readFileSync(file, 'utf8')));
  }

  /** Creates the directory if it is missing: at the start the disk may have been full. @returns whether it is saved */
  save(name: string, text: string): boolean {
    const file = path.join(this.#dir, name);
    return (
      this.#attempt(file, () => {
        try {
          replaceFile(file, text);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
          makeDirectory(this.#dir);
          replaceFile(file, text);
        }
        return true;
      }) ?? false
    );
  }

  /** Also a directory, with its files. */
  remove(name: string): void {
    const file = path.join(this.#dir, name);
    this.#attempt(file, () => rmSync(file, { force: true, recursive: true }));
  }

  /** Reports a file that the owner of the store does not accept. */
  problem(name: string, reason: string): void {
    this.#onProblem(path.join(this.#dir, name), reason);
  }

  #attempt<T>(file: string, action: () => T, ignored?: string): T | undefined {
    try {
      return action();
    } catch (error) {
      if (ignored === undefined || (error as NodeJS.ErrnoException).code !== ignored)
        this.#onProblem(file, (error as Error).message);
      return undefined;
    }
  }
}
