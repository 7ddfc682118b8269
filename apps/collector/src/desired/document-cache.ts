/**
 * Caches the newest accepted documents of the bus on disk, so that a start without the bus enforces
 * what the last process enforced. The folder `<stateDir>/bus/` is not per boot: a quarantine
 * outlives a reboot. A file holds one document or one configuration key and is replaced by rename.
 * A file that cannot be read is reported and ignored.
 *
 * Invariant: only accepted documents are cached. Limits: MAX_DOCUMENTS, MAX_BYTES per document.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MAX_SNAPSHOT_JSON_BYTES } from '@bailiff/schemas';
import type { BusDocument } from './bus-documents.ts';

/** As many as the keys that a reader of the bus follows. */
export const MAX_DOCUMENTS = 4096;
/** Size of a snapshot after decompression; a message on the bus has at most 1 MiB. */
export const MAX_BYTES = MAX_SNAPSHOT_JSON_BYTES;

export type SavedDocument = BusDocument & { json: string };

export interface DocumentCacheEvents {
  onProblem(problem: { file: string; reason: string }): void;
}

export class DocumentCache {
  readonly #dir: string;
  readonly #events: DocumentCacheEvents;
  /** Content by file name: an unchanged document is not written again. */
  readonly #saved = new Map<string, string>();

  constructor(stateDir: string, events: DocumentCacheEvents) {
    this.#dir = path.join(stateDir, 'bus');
    this.#events = events;
  }

  /** Every saved document, cluster and configuration first: the others depend on them. */
  load(): SavedDocument[] {
    const documents: SavedDocument[] = [];
    for (const name of this.#list()) {
      if (!name.endsWith('.json')) continue;
      const file = path.join(this.#dir, name);
      try {
        const text = readFileSync(file, 'utf8');
        const document = JSON.parse(text) as SavedDocument;
        if (typeof document?.json !== 'string' || typeof document.key !== 'string' || nameOf(document) !== name)
          throw new Error('not a saved document');
        this.#saved.set(name, text);
        documents.push(document);
      } catch (error) {
        this.#events.onProblem({ file, reason: (error as Error).message });
      }
    }
    const order = ['cluster', 'config', 'quarantine', 'pods'];
    return documents.sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what));
  }

  #list(): string[] {
    return (
      this.#attempt(this.#dir, () => {
        mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
        return readdirSync(this.#dir);
      }) ?? []
    );
  }

  /** Reports an error of the disk; enforcement is not affected. */
  #attempt<T>(file: string, action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      this.#events.onProblem({ file, reason: (error as Error).message });
      return undefined;
    }
  }

  save(document: SavedDocument): void {
    const name = nameOf(document);
    const text = JSON.stringify({ what: document.what, key: document.key, json: document.json });
    const file = path.join(this.#dir, name);
    if (this.#saved.get(name) === text) return;
    if (document.json.length > MAX_BYTES) {
      this.#events.onProblem({ file, reason: `${document.json.length} bytes are above the limit of ${MAX_BYTES}` });
      return;
    }
    if (!this.#saved.has(name) && this.#saved.size >= MAX_DOCUMENTS) {
      this.#events.onProblem({ file, reason: `more than ${MAX_DOCUMENTS} documents` });
      return;
    }
    this.#attempt(file, () => {
      writeFileSync(`${file}.new`, text, { mode: 0o600 });
      renameSync(`${file}.new`, file);
      this.#saved.set(name, text);
    });
  }

  remove(document: Pick<BusDocument, 'what' | 'key'>): void {
    const name = nameOf(document);
    if (!this.#saved.delete(name)) return;
    const file = path.join(this.#dir, name);
    this.#attempt(file, () => rmSync(file, { force: true }));
  }
}

/**
 * The file of a configuration key is named by a digest, because keys may be longer than file names.
 */
function nameOf({ what, key }: Pick<BusDocument, 'what' | 'key'>): string {
  return what === 'config' ? `config-${createHash('sha256').update(key).digest('hex')}.json` : `${what}.json`;
}
