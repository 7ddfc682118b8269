/**
 * Follows libcni's result folder by inotify and holds the newest record of each file.
 *
 * libcni writes a record in place, so a file may be read half written; it is read again on its next
 * event and, a limited number of times, by a timer. A watch follows the folder, not its path:
 * `check()` on a slow timer notices a folder that was recreated, and reads the files that an
 * overrun of inotify's queue hid. Nothing throws after the start.
 */
import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import path from 'node:path';
import { readRegularFile } from '../process/regular-file.ts';
import { type CniRecord, MAX_RECORD_BYTES, readCniRecord } from './cni-record.ts';

/** Interval of reading a half-written record again. */
const RETRY_MS = 10;
/** A writer that takes longer than these retries causes another event. */
const MAX_RETRIES = 50;
/** Interval of looking for a missing folder: the runtime creates it with the first pod. */
const MISSING_DIR_MS = 1000;
/** Limit of records; a node has about one per pod interface. */
export const MAX_RECORDS = 4096;

export interface CniRecordsEvents {
  onRecord(record: CniRecord): void;
  /** The folder was removed or recreated, or a file in it is no record. */
  onProblem(problem: { file: string; reason: string }): void;
}

export class CniRecords {
  /** Records by file name. */
  readonly byFile = new Map<string, CniRecord>();
  readonly #dir: string;
  readonly #events: CniRecordsEvents;
  readonly #timers = new Set<NodeJS.Timeout>();
  #watcher: FSWatcher | null = null;
  /**
   * Identity of the watched folder. It includes the birth time, because inode numbers are reused.
   */
  #watched = '';
  #closed = false;

  constructor(dir: string, events: CniRecordsEvents) {
    this.#dir = dir;
    this.#events = events;
  }

  /** Watches first and lists second, so that no record is missed in between. */
  start(): void {
    if (this.#closed) return;
    try {
      this.#watcher = watch(this.#dir, (_event, name) => {
        if (name !== null) this.#read(name, MAX_RETRIES);
      });
      this.#watcher.on('error', (error) => {
        this.#events.onProblem({ file: this.#dir, reason: error.message });
        this.#restart(MISSING_DIR_MS);
      });
      this.#watched = this.#folder();
      this.#list();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#events.onProblem({ file: this.#dir, reason: (error as Error).message });
      this.#restart(MISSING_DIR_MS);
    }
  }

  #folder(): string {
    const { dev, ino, birthtimeNs } = statSync(this.#dir, { bigint: true });
    return `${dev}/${ino}/${birthtimeNs}`;
  }

  /** Reads new and changed files, and drops the records of removed ones. */
  #list(): void {
    const names = new Set(readdirSync(this.#dir));
    for (const name of [...this.byFile.keys()]) if (!names.has(name)) this.byFile.delete(name);
    for (const name of names) this.#read(name, MAX_RETRIES, true);
  }

  /**
   * Checks on a slow timer that the watched folder is the current one and that every file is known.
   */
  check(): void {
    if (this.#closed || !this.#watcher) return; // the folder is missing and searched already
    try {
      if (this.#folder() === this.#watched) {
        this.#list();
        return;
      }
      this.#events.onProblem({ file: this.#dir, reason: 'the folder was recreated' });
    } catch (error) {
      this.#events.onProblem({ file: this.#dir, reason: (error as Error).message });
    }
    this.#restart(0);
  }

  #restart(afterMs: number): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.#later(afterMs, () => this.start());
  }

  #later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#closed) action();
    }, ms);
    this.#timers.add(timer);
  }

  /** @param unlessKnown skips a file that was not written since its record was read */
  #read(name: string, retries: number, unlessKnown = false): void {
    const file = path.join(this.#dir, name);
    let read: ReturnType<typeof readRegularFile>;
    try {
      read = readRegularFile(file, MAX_RECORD_BYTES, unlessKnown ? this.byFile.get(name)?.writtenAtMs : undefined);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        this.byFile.delete(name);
        // inotify reports the removal of the folder itself under its own name; the watch ended.
        if (name === path.basename(this.#dir) && this.#watcher) this.#restart(0);
      } else this.#events.onProblem({ file, reason: (error as Error).message });
      return;
    }
    if (read === null) return;
    if ('reason' in read) {
      this.#events.onProblem({ file, reason: read.reason });
      return;
    }
    this.#add(name, file, readCniRecord(name, read.content.toString('utf8'), read.writtenAtMs), retries);
  }

  #add(name: string, file: string, reading: ReturnType<typeof readCniRecord>, retries: number): void {
    if ('reason' in reading) {
      if (reading.reason.startsWith('not JSON') && retries > 0)
        this.#later(RETRY_MS, () => this.#read(name, retries - 1));
      else this.#events.onProblem({ file, reason: reading.reason });
      return;
    }
    if (!this.byFile.has(name) && this.byFile.size >= MAX_RECORDS) {
      this.#events.onProblem({ file, reason: `more than ${MAX_RECORDS} records in the folder` });
      return;
    }
    for (const reason of reading.dropped) this.#events.onProblem({ file, reason });
    this.byFile.set(name, reading.record);
    this.#events.onRecord(reading.record);
  }

  /**
   * Applies the record of a CNI call as if its file had been read. libcni writes the file after the
   * call, so the record is not held: its interface is bound now, or its call fails.
   */
  apply(record: CniRecord): void {
    const before = this.byFile.get(record.file);
    this.byFile.set(record.file, record);
    try {
      this.#events.onRecord(record);
    } finally {
      if (before) this.byFile.set(record.file, before);
      else this.byFile.delete(record.file);
    }
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
