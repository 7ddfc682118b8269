/**
 * Follows libcni's result folder: reads what is there, then every file that changes, by inotify. libcni writes a record in place, so a
 * file may be seen half written: it is read again on its next event and, bounded, by a timer. Holds the newest record by file name.
 */
import { type FSWatcher, readdirSync, readFileSync, statSync, watch } from 'node:fs';
import path from 'node:path';
import { type CniRecord, MAX_RECORD_BYTES, readCniRecord } from './cni-record.ts';

/** A half-written record is read again this often ... */
const RETRY_MS = 10;
/** ... and this many times: a writer that takes longer causes another event. */
const MAX_RETRIES = 50;
/** A folder that is not there yet is looked for this often: the runtime makes it with the first pod. */
const MISSING_DIR_MS = 1000;
/** Records held at most; a node has about one a pod interface. */
export const MAX_RECORDS = 4096;

export interface CniCacheEvents {
  onRecord(record: CniRecord): void;
  onRemoved(file: string): void;
  /** The folder came, went, or a file in it is no record. */
  onProblem(problem: { file: string; reason: string }): void;
}

export class CniCache {
  readonly records = new Map<string, CniRecord>();
  readonly #dir: string;
  readonly #events: CniCacheEvents;
  readonly #timers = new Set<NodeJS.Timeout>();
  #watcher: FSWatcher | null = null;
  #closed = false;
  /** Whether the folder is there and watched. */
  available = false;

  constructor(dir: string, events: CniCacheEvents) {
    this.#dir = dir;
    this.#events = events;
  }

  /** Watches first and lists second, so that no record falls between. */
  start(): void {
    if (this.#closed) return;
    try {
      this.#watcher = watch(this.#dir, (_event, name) => {
        if (name !== null) this.#read(name, MAX_RETRIES);
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#events.onProblem({ file: this.#dir, reason: (error as Error).message });
      this.available = false;
      this.#later(MISSING_DIR_MS, () => this.start());
      return;
    }
    this.#watcher.on('error', (error) => {
      this.#events.onProblem({ file: this.#dir, reason: error.message });
      this.#restart();
    });
    this.available = true;
    for (const name of readdirSync(this.#dir)) this.#read(name, MAX_RETRIES);
  }

  #restart(): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.available = false;
    this.#later(MISSING_DIR_MS, () => this.start());
  }

  #later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#closed) action();
    }, ms);
    this.#timers.add(timer);
  }

  #read(name: string, retries: number): void {
    const file = path.join(this.#dir, name);
    let json: string;
    try {
      const { size } = statSync(file);
      if (size > MAX_RECORD_BYTES) {
        this.#events.onProblem({ file, reason: `${size} bytes is more than a record may have (${MAX_RECORD_BYTES})` });
        return;
      }
      json = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#events.onProblem({ file, reason: (error as Error).message });
      } else if (this.records.delete(name)) {
        this.#events.onRemoved(name);
      }
      return;
    }
    const reading = readCniRecord(name, json);
    if ('record' in reading) {
      if (!this.records.has(name) && this.records.size >= MAX_RECORDS) {
        this.#events.onProblem({ file, reason: `more than ${MAX_RECORDS} records in the folder` });
        return;
      }
      this.records.set(name, reading.record);
      this.#events.onRecord(reading.record);
    } else if (reading.reason.startsWith('not JSON') && retries > 0) {
      this.#later(RETRY_MS, () => this.#read(name, retries - 1));
    } else {
      this.#events.onProblem({ file, reason: reading.reason });
    }
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
