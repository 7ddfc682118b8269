/**
 * Caches the newest accepted documents of the bus on disk, so that a start without the bus enforces
 * what the last process enforced. The folder `<stateDir>/bus/` is not per boot: a quarantine
 * outlives a reboot. A file holds one document or one configuration key and is replaced by rename.
 * A file that cannot be read is reported and ignored.
 *
 * Invariant: only accepted documents are cached, those that need a signature with it, so that the next process verifies it by
 * its own signers. Limits: MAX_DOCUMENTS of each kind of key, because one kind may need a signature and
 * another not, or have other signers; MAX_BYTES per document.
 */

import { createHash } from 'node:crypto';
import path from 'node:path';
import { MAX_SNAPSHOT_JSON_BYTES } from '@bailiff/schemas';
import { FileStore } from '@bailiff/service';
import type { OnProblem } from '../process/problem-log.ts';
import type { BusDocument } from './bus-documents.ts';

/** Of a kind, as many as the keys that a reader of the bus follows. */
export const MAX_DOCUMENTS = 4096;
/** Size of a snapshot after decompression; a message on the bus has at most 1 MiB. */
export const MAX_BYTES = MAX_SNAPSHOT_JSON_BYTES;

export interface DocumentCacheEvents {
  onProblem: OnProblem;
}

export class DocumentCache {
  readonly #files: FileStore;
  /** Content by file name: an unchanged document is not written again. */
  readonly #saved = new Map<string, { text: string; kind: string }>();
  /** Number of saved documents. */
  readonly #ofKind = new Map<string, number>();

  constructor(stateDir: string, events: DocumentCacheEvents) {
    this.#files = new FileStore(path.join(stateDir, 'bus'), events.onProblem);
  }

  /** Every saved document, cluster and configuration first: the others depend on them. */
  load(): BusDocument[] {
    const documents: BusDocument[] = [];
    this.#files.create();
    for (const name of this.#files.names(/\.json$/)) {
      const document = this.#files.read(name, (text) => {
        const parsed = JSON.parse(text) as BusDocument;
        if (
          (typeof parsed?.json !== 'string' && parsed?.json !== null) ||
          typeof parsed.key !== 'string' ||
          nameOf(parsed) !== name
        )
          throw new Error('not a saved document');
        this.#keep(name, text, parsed);
        return parsed;
      });
      if (document !== undefined) documents.push(document);
    }
    const order = ['cluster', 'config', 'quarantine', 'pods'];
    return documents.sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what));
  }

  save(document: BusDocument): void {
    const name = nameOf(document);
    const { what, key, json, signature } = document;
    const text = JSON.stringify({ what, key, json, signature });
    if (this.#saved.get(name)?.text === text) return;
    const length = json?.length ?? 0;
    if (length > MAX_BYTES) {
      this.#files.problem(name, `${length} bytes are above the limit of ${MAX_BYTES}`);
      return;
    }
    const kind = kindOf(document);
    if (!this.#saved.has(name) && (this.#ofKind.get(kind) ?? 0) >= MAX_DOCUMENTS) {
      this.#files.problem(name, `more than ${MAX_DOCUMENTS} documents of ${kind}`);
      return;
    }
    if (this.#files.save(name, text)) this.#keep(name, text, document);
  }

  #keep(name: string, text: string, document: BusDocument): void {
    const kind = kindOf(document);
    if (!this.#saved.has(name)) this.#ofKind.set(kind, (this.#ofKind.get(kind) ?? 0) + 1);
    this.#saved.set(name, { text, kind });
  }

  /** A signed deletion is kept, because an earlier signed value could return after a restart. */
  remove(document: Pick<BusDocument, 'what' | 'key' | 'signature'>): void {
    if (document.signature !== undefined) {
      this.save({ ...document, json: null });
      return;
    }
    const name = nameOf(document);
    const kind = this.#saved.get(name)?.kind;
    if (kind === undefined) return;
    this.#saved.delete(name);
    this.#ofKind.set(kind, (this.#ofKind.get(kind) ?? 1) - 1);
    this.#files.remove(name);
  }
}

const kindOf = ({ what, key }: Pick<BusDocument, 'what' | 'key'>): string =>
  what === 'config' ? (key.split('.')[0] as string) : what;

/**
 * The file of a configuration key is named by a digest, because keys may be longer than file names.
 */
function nameOf({ what, key }: Pick<BusDocument, 'what' | 'key'>): string {
  return what === 'config' ? `config-${createHash('sha256').update(key).digest('hex')}.json` : `${what}.json`;
}
