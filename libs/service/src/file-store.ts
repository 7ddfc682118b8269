/**
 * A directory of small files that are replaced atomically: written under a temporary name, then
 * renamed. A process that is killed leaves the old or the new content, never a part of it.
 *
 * Only the owner may read the files. A failed disk operation is reported and never thrown.
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

/**
 * Replaces one file.
 * @param durable whether the content must survive a power failure
 */
export function replaceFile(file: string, text: string, { durable = false } = {}): void {
  const next = `${file}.new`;
  const descriptor = openSync(next, 'w', MODE);
  try {
    fchmodSync(descriptor, MODE);
    writeFileSync(descriptor, text);
    if (durable) fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(next, file);
}

export interface FileProblem {
  file: string;
  reason: string;
}

export class FileStore {
  readonly #dir: string;
  readonly #onProblem: (problem: FileProblem) => void;

  constructor(dir: string, onProblem: (problem: FileProblem) => void) {
    this.#dir = dir;
    this.#onProblem = onProblem;
  }

  /** Creates the directory. */
  create(): void {
    this.#attempt(this.#dir, () => mkdirSync(this.#dir, { recursive: true, mode: 0o700 }));
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

  /** @returns whether it is saved */
  save(name: string, text: string): boolean {
    const file = path.join(this.#dir, name);
    return (
      this.#attempt(file, () => {
        replaceFile(file, text);
        return true;
      }) ?? false
    );
  }

  remove(name: string): void {
    const file = path.join(this.#dir, name);
    this.#attempt(file, () => rmSync(file, { force: true }));
  }

  /** Reports a file that the owner of the store does not accept. */
  problem(name: string, reason: string): void {
    this.#onProblem({ file: path.join(this.#dir, name), reason });
  }

  #attempt<T>(file: string, action: () => T, ignored?: string): T | undefined {
    try {
      return action();
    } catch (error) {
      if (ignored === undefined || (error as NodeJS.ErrnoException).code !== ignored)
        this.#onProblem({ file, reason: (error as Error).message });
      return undefined;
    }
  }
}
