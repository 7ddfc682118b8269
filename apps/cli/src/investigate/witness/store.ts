/**
 * What a witness remembers: for each log the newest checkpoint that it cosigned, a file each, named by the hash of the
 * origin. A file is replaced only after its content is on disk, so a kill or a power failure never makes the witness
 * forget a head that it cosigned. A file that cannot be read stops cosigning, instead of counting as none.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Checkpoint, witnessedHeadIn } from '@bailiff/evidence';
import { replaceFile } from '@bailiff/service';

export const hashOf = (origin: string): string => createHash('sha256').update(origin).digest('hex');

export class WitnessStore {
  readonly #directory: string;

  /** Creates the directory. */
  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#directory = directory;
  }

  /** The newest cosigned checkpoint as a note, by the hash of its origin; null: none. @throws errors of the file */
  note(hash: string): string | null {
    try {
      return readFileSync(path.join(this.#directory, hash), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /** @throws EvidenceError EVIDENCE_FORMAT; errors of the file */
  last(origin: string): Checkpoint | null {
    const note = this.note(hashOf(origin));
    return note === null ? null : witnessedHeadIn(note);
  }

  /** On disk when it returns. @throws errors of the file */
  store(origin: string, note: string): void {
    replaceFile(path.join(this.#directory, hashOf(origin)), note, { durable: true });
  }
}
