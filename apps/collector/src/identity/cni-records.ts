/**
 * Follows libcni's result folder: reads what is there, then every file that changes, by inotify. libcni writes a record in place, so a
 * file may be seen half written: it is read again on its next event and, bounded, by a timer. Holds the newest record by file name.
 *
 * A watch stands on a folder, not on its path: `check()`, called on a slow timer, notices one that was removed and made again, and reads
 * what an overrun of inotify's queue hid. Nothing here throws once it was started.
 */
import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  watch,
} from 'node:fs';
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
  /** The folder came, went, or a file in it is no record. */
  onProblem(problem: { file: string; reason: string }): void;
}

export class CniCache {
  readonly records = new Map<string, CniRecord>();
  readonly #dir: string;
  readonly #events: CniCacheEvents;
  readonly #timers = new Set<NodeJS.Timeout>();
  #watcher: FSWatcher | null = null;
  /** Which folder is watched: an inode's number is used again, not its birth. */
  #watched = '';
  #closed = false;

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

  /** Reads what is new or changed, and drops what is no longer there. */
  #list(): void {
    const names = new Set(readdirSync(this.#dir));
    for (const name of [...this.records.keys()]) if (!names.has(name)) this.records.delete(name);
    for (const name of names) this.#read(name, MAX_RETRIES, true);
  }

  /** On a slow timer: is it still the folder that is watched, and is all of it known? */
  check(): void {
    if (this.#closed || !this.#watcher) return; // it is being looked for already
    try {
      if (this.#folder() === this.#watched) {
        this.#list();
        return;
      }
      this.#events.onProblem({ file: this.#dir, reason: 'the folder was made anew' });
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

  /** @param unlessKnown leaves a record that was read since the file was written */
  #read(name: string, retries: number, unlessKnown = false): void {
    const file = path.join(this.#dir, name);
    let read: ReturnType<typeof readRegularFile>;
    try {
      read = readRegularFile(file, unlessKnown ? this.records.get(name)?.writtenAtMs : undefined);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        this.records.delete(name);
        // The end of the folder itself is told under its own name, and the watch ended with it.
        if (name === path.basename(this.#dir) && this.#watcher) this.#restart(0);
      } else this.#events.onProblem({ file, reason: (error as Error).message });
      return;
    }
    if (read === null) return;
    if ('reason' in read) {
      this.#events.onProblem({ file, reason: read.reason });
      return;
    }
    this.#take(name, file, readCniRecord(name, read.json, read.writtenAtMs), retries);
  }

  #take(name: string, file: string, reading: ReturnType<typeof readCniRecord>, retries: number): void {
    if ('reason' in reading) {
      if (reading.reason.startsWith('not JSON') && retries > 0)
        this.#later(RETRY_MS, () => this.#read(name, retries - 1));
      else this.#events.onProblem({ file, reason: reading.reason });
      return;
    }
    if (!this.records.has(name) && this.records.size >= MAX_RECORDS) {
      this.#events.onProblem({ file, reason: `more than ${MAX_RECORDS} records in the folder` });
      return;
    }
    for (const reason of reading.dropped) this.#events.onProblem({ file, reason });
    this.records.set(name, reading.record);
    this.#events.onRecord(reading.record);
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

/** `O_NONBLOCK`: opening a FIFO waits for its writer otherwise, and would block the whole collector. `O_NOFOLLOW`: libcni writes no links. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/**
 * Reads at most MAX_RECORD_BYTES of a regular file, without blocking. Checks are on the open file, so that a file that replaces it under
 * its name in between changes nothing.
 * @param knownAtMs null is returned when the file was last written at this time
 * @throws Error of the file system; ELOOP for a symbolic link
 */
function readRegularFile(
  file: string,
  knownAtMs: number | undefined,
): { json: string; writtenAtMs: number } | { reason: string } | null {
  const fd = openSync(file, READ_FLAGS);
  try {
    const before = fstatSync(fd);
    if (!before.isFile()) return { reason: 'not a regular file' };
    if (before.mtimeMs === knownAtMs) return null;
    // One byte more than allowed: the file may have grown since.
    const buffer = Buffer.allocUnsafe(Math.min(before.size, MAX_RECORD_BYTES) + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length < buffer.length; length += got) {
      got = readSync(fd, buffer, length, buffer.length - length, length);
    }
    if (length > MAX_RECORD_BYTES || before.size > MAX_RECORD_BYTES) {
      const bytes = Math.max(length, before.size);
      return { reason: `${bytes} bytes is more than a record may have (${MAX_RECORD_BYTES})` };
    }
    // After the reading: what was read is not older than this says.
    return { json: buffer.toString('utf8', 0, length), writtenAtMs: fstatSync(fd).mtimeMs };
  } finally {
    closeSync(fd);
  }
}
