/**
 * What the bus said last, on disk: the newest accepted document of each kind as it came, so that a start without the bus enforces what
 * the last process enforced. Under `<stateDir>/bus/`, not per boot: a quarantine outlives a reboot. One file a document and a
 * configuration key, written aside and renamed; a file that cannot be read is reported and counts as not there.
 *
 * Invariant: only what DesiredState accepted is saved. Bounds: MAX_KEYS configuration keys, MAX_BYTES a document.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MAX_SNAPSHOT_JSON_BYTES } from '@bailiff/schemas';
import type { BusDocument } from './bus-documents.ts';

/** Configuration keys kept at most: as many as a reader of the bus follows. */
export const MAX_KEYS = 4096;
/** Largest document kept: a snapshot after it was inflated. The bus carries no larger message than 1 MiB. */
export const MAX_BYTES = MAX_SNAPSHOT_JSON_BYTES;

export type SavedDocument = BusDocument & { json: string };

export interface DocumentStoreEvents {
  onProblem(problem: { file: string; reason: string }): void;
}

export class DocumentStore {
  readonly #dir: string;
  readonly #events: DocumentStoreEvents;
  /** What is on disk, by file name: a document that comes again is not written again. */
  readonly #held = new Map<string, string>();

  constructor(stateDir: string, events: DocumentStoreEvents) {
    this.#dir = path.join(stateDir, 'bus');
    this.#events = events;
  }

  /** Every saved document, cluster and configuration first: they bear on how the rest is read. */
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
        this.#held.set(name, text);
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

  /** A disk that refuses is reported; what is in force is so all the same. */
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
    if (this.#held.get(name) === text) return;
    if (document.json.length > MAX_BYTES) {
      this.#events.onProblem({ file, reason: `${document.json.length} bytes are more than are kept (${MAX_BYTES})` });
      return;
    }
    if (!this.#held.has(name) && this.#held.size >= MAX_KEYS) {
      this.#events.onProblem({ file, reason: `more than ${MAX_KEYS} documents` });
      return;
    }
    this.#attempt(file, () => {
      writeFileSync(`${file}.new`, text, { mode: 0o600 });
      renameSync(`${file}.new`, file);
      this.#held.set(name, text);
    });
  }

  remove(document: Pick<BusDocument, 'what' | 'key'>): void {
    const name = nameOf(document);
    if (!this.#held.delete(name)) return;
    const file = path.join(this.#dir, name);
    this.#attempt(file, () => rmSync(file, { force: true }));
  }
}

/** Keys may be longer than a file name may be, so a configuration key is named by its digest. */
function nameOf({ what, key }: Pick<BusDocument, 'what' | 'key'>): string {
  return what === 'config' ? `config-${createHash('sha256').update(key).digest('hex')}.json` : `${what}.json`;
}
