/**
 * Follows libcni's result folder and holds the newest record of each file.
 *
 * libcni writes a record in place, so a file may be read half written; it is read again on its next
 * event and, a limited number of times, by a timer. `check()` on a slow timer notices a folder that
 * was recreated, and reads the files that an overrun of inotify's queue hid. Nothing throws.
 */

import { readdirSync } from 'node:fs';
import path from 'node:path';
import { FairCounts } from '@bailiff/service';
import { DirectoryWatch } from '../process/directory-watch.ts';
import type { OnProblem } from '../process/problem-log.ts';
import { readRegularFile } from '../process/regular-file.ts';
import { isShortage, shortageWaitMs } from '../process/shortage.ts';
import { type CniRecord, readCniRecord } from './cni-record.ts';
import { MAX_PARSED_BYTES, MAX_RECORD_BYTES, withoutCapabilityArgs } from './cni-record-size.ts';
import type { Binding } from './identity.ts';

/** Interval of reading a half-written record again. */
const RETRY_MS = 10;
/** A writer that takes longer than these retries causes another event. */
const MAX_RETRIES = 50;
/**
 * Limit of records; a node has about one per pod interface. A pod can request many networks (Multus), so
 * a namespace gets a further record only while more are free than it has.
 */
const MAX_RECORDS = 4096;

export interface CniRecordsEvents {
  onRecord(record: CniRecord): void;
  /** The folder was removed or recreated, or a file in it is no record. */
  onProblem: OnProblem;
}

export class CniRecords {
  /** Records by file name. */
  readonly byFile = new Map<string, CniRecord>();
  readonly #counts: FairCounts;
  readonly #dir: string;
  readonly #events: CniRecordsEvents;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #watch: DirectoryWatch;
  /** Failures in a row for want of descriptors or memory; a listing is due after each. */
  #shortages = 0;
  #relist = false;
  #closed = false;

  /** @param most for tests */
  constructor(dir: string, events: CniRecordsEvents, most = MAX_RECORDS) {
    this.#counts = new FairCounts(most);
    this.#dir = dir;
    this.#events = events;
    this.#watch = new DirectoryWatch(dir, {
      changed: (name) => (name === null ? this.#list() : this.#read(name, MAX_RETRIES)),
      onProblem: events.onProblem,
    });
  }

  /** Why the folder is polled instead of watched; empty: it is not. */
  get unwatched(): string {
    return this.#watch.unavailable;
  }

  /** The runtime creates the folder with the first pod. */
  start(): void {
    this.#watch.start();
  }

  /** Reads new and changed files, and drops the records of removed ones. */
  #list(): void {
    let names: Set<string>;
    try {
      names = new Set(readdirSync(this.#dir));
    } catch (error) {
      this.#failed(this.#dir, error);
      return;
    }
    for (const name of [...this.byFile.keys()]) if (!names.has(name)) this.#forget(name);
    for (const name of names) this.#read(name, MAX_RETRIES, true);
    if (!this.#relist) this.#shortages = 0;
  }

  /** Without descriptors or memory, no event would ask for the file again: lists the folder soon. */
  #failed(file: string, error: unknown): void {
    this.#events.onProblem(file, (error as Error).message);
    if (!isShortage(error) || this.#relist) return;
    this.#shortages += 1;
    this.#relist = true;
    this.#later(shortageWaitMs(this.#shortages), () => {
      this.#relist = false;
      this.#list();
    });
  }

  /**
   * Checks on a slow timer that the watched folder is the current one and that every file is known.
   */
  check(): void {
    if (!this.#watch.isMissing && !this.#watch.check()) this.#list();
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
        this.#forget(name);
        // inotify reports the removal of the folder itself under its own name; the watch ended.
        if (name === path.basename(this.#dir)) this.#watch.check();
      } else this.#failed(file, error);
      return;
    }
    if (read === null) return;
    if ('reason' in read) {
      this.#events.onProblem(file, read.reason);
      return;
    }
    const json = withoutCapabilityArgs(read.content);
    const reading =
      json.length > MAX_PARSED_BYTES
        ? { reason: `${json.length} bytes without capabilityArgs are more than the limit of ${MAX_PARSED_BYTES}` }
        : readCniRecord(name, json.toString('utf8'), read.writtenAtMs);
    this.#add(name, file, reading, retries);
  }

  #add(name: string, file: string, reading: ReturnType<typeof readCniRecord>, retries: number): void {
    if ('reason' in reading) {
      if (reading.reason.startsWith('not JSON') && retries > 0)
        this.#later(RETRY_MS, () => this.#read(name, retries - 1));
      else this.#events.onProblem(file, reading.reason);
      return;
    }
    const { podNamespace } = reading.record;
    if (!this.byFile.has(name) && !this.#counts.hasRoom(podNamespace)) {
      const reason = `namespace ${podNamespace} has its share of the ${this.#counts.most} records in the folder`;
      this.#events.onProblem(file, reason);
      return;
    }
    for (const reason of reading.dropped) this.#events.onProblem(file, reason);
    this.#forget(name);
    this.#counts.add(podNamespace);
    this.byFile.set(name, reading.record);
    this.#events.onRecord(reading.record);
  }

  #forget(name: string): void {
    const record = this.byFile.get(name);
    if (record && this.byFile.delete(name)) this.#counts.remove(record.podNamespace);
  }

  /** Whether the pod of an interface chose its addresses, or its MAC; null: no record was read. */
  isChosen(
    { link, podUid }: Pick<Binding, 'link' | 'podUid'>,
    what: 'isChosen' | 'isMacChosen' = 'isChosen',
  ): boolean | null {
    // Multus is a plugin of the runtime, so an interface has two records. That of a call lacks the configuration.
    const own = [...this.byFile.values()].filter(
      (record) => !record.fromCall && record.podUid === podUid && record.hostInterfaces.includes(link.name),
    );
    return own.length === 0 ? null : own.some((record) => record[what]);
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
    this.#watch.close();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
