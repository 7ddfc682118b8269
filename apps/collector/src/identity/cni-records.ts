/**
 * Follows libcni's result folders and holds the newest record of each file. The runtime has one.
 * Multus has another, with a record of each network that it attaches, the first one included.
 *
 * libcni writes a record in place, so a file may be read half written; it is read again on its next
 * event and, a limited number of times, by a timer. `check()` on a slow timer notices a folder that
 * was recreated, and reads the files that an overrun of inotify's queue hid. Nothing throws.
 */

import { existsSync, lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { FairCounts } from '@bailiff/service';
import { DirectoryWatch } from '../process/directory-watch.ts';
import type { OnProblem } from '../process/problem-log.ts';
import { readRegularFile } from '../process/regular-file.ts';
import { isShortage, shortageWaitMs } from '../process/shortage.ts';
import { type CniRecord, readCniRecord } from './cni-record.ts';
import { MAX_PARSED_BYTES, MAX_RECORD_BYTES, withoutCapabilityArgs } from './cni-record-size.ts';
import { type Binding, recordOf } from './identity.ts';
import type { RecordSight } from './pod-life.ts';

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
  /** A folder was removed or recreated, or a file in it is no record. */
  onProblem: OnProblem;
}

interface Unread {
  reason: string;
  /** It is read again only if it was written since; absent: at each check. */
  writtenAtMs?: number;
}

interface Folder {
  dir: string;
  watch: DirectoryWatch;
  /** Failures in a row for want of descriptors or memory; a listing is due after each. */
  shortages: number;
  relist: boolean;
}

/** Proved by the folder: one that cannot be read proves nothing. */
function isMissing(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

export class CniRecords {
  /** Records by path, because the files of two folders can have one name. */
  readonly #byPath = new Map<string, CniRecord>();
  /** By path: files that are no record here, because they are too large, beyond a share, or not readable. */
  readonly #unread = new Map<string, Unread>();
  readonly #counts: FairCounts;
  readonly #events: CniRecordsEvents;
  readonly #folders: readonly Folder[];
  readonly #timers = new Set<NodeJS.Timeout>();
  /** The record of the call that is being applied. */
  #call: CniRecord | null = null;
  #closed = false;

  /** @param most for tests */
  constructor(dirs: readonly string[], events: CniRecordsEvents, most = MAX_RECORDS) {
    this.#counts = new FairCounts(most);
    this.#events = events;
    this.#folders = [...new Set(dirs.map((dir) => path.resolve(dir)))].map((dir) => this.#folderOf(dir));
  }

  #folderOf(dir: string): Folder {
    const watch = new DirectoryWatch(dir, {
      changed: (name) => (name === null ? this.#list(folder) : this.#read(folder, name, MAX_RETRIES)),
      onProblem: this.#events.onProblem,
    });
    const folder: Folder = { dir, watch, shortages: 0, relist: false };
    return folder;
  }

  /** Why a folder is polled instead of watched; empty: none is. */
  get unwatched(): string {
    return this.#folders.find(({ watch }) => watch.unavailable !== '')?.watch.unavailable ?? '';
  }

  /** The records, with that of the call that is being applied. */
  all(): CniRecord[] {
    const call = this.#call;
    const held = [...this.#byPath.values()];
    return call ? [...held.filter(({ file }) => file !== call.file), call] : held;
  }

  /**
   * The record of a binding. Names of two folders that are equal are those of one attachment, because they contain
   * network, sandbox and interface: it lasts as long as either. A pod that joins a network again has the
   * name again, for another interface.
   * @param seenIn the folder in which it was before
   */
  sightOf(binding: Binding, seenIn?: string): RecordSight {
    const { recordFile, link } = binding;
    if (recordFile === undefined) return 'gone';
    const files = this.#folders.map(({ dir }) => path.join(dir, recordFile));
    const held = files.find((file) => this.#byPath.get(file)?.hostInterfaces.includes(link.name));
    if (held !== undefined) return { folder: path.dirname(held) };
    if (files.some((file) => this.#unread.has(file))) return 'unread';
    return seenIn !== undefined && this.#isReleased(binding, recordFile, seenIn) ? 'released' : 'gone';
  }

  /** Whether a folder has a record of a sandbox, but that of a binding no longer. */
  #isReleased(binding: Binding, recordFile: string, folder: string): boolean {
    const file = path.join(folder, recordFile);
    if (!this.#byPath.has(file) && !isMissing(file)) return false;
    const sandbox = recordOf(binding)?.sandbox;
    for (const [other, { containerId }] of this.#byPath)
      if (containerId === sandbox && path.dirname(other) === folder && existsSync(other)) return true;
    return false;
  }

  /** Whether one is on disk at this moment. A watch reports a removal later than the next pod's call. */
  isOnDisk(file: string): boolean {
    return this.#folders.some(({ dir }) => existsSync(path.join(dir, file)));
  }

  /** The runtime, or Multus, creates its folder with the first pod. */
  start(): void {
    for (const { watch } of this.#folders) watch.start();
  }

  /** Looks for missing folders now: the watch finds a new one after a second. */
  findFolders(): void {
    for (const { watch } of this.#folders) if (watch.isMissing) watch.start();
  }

  /** Reads new and changed files, and drops the records of removed ones. */
  #list(folder: Folder): void {
    let names: Set<string>;
    try {
      names = new Set(readdirSync(folder.dir));
    } catch (error) {
      this.#failed(folder, folder.dir, error);
      return;
    }
    for (const file of [...this.#byPath.keys(), ...this.#unread.keys()])
      if (path.dirname(file) === folder.dir && !names.has(path.basename(file))) this.#forget(file);
    for (const name of names) this.#read(folder, name, MAX_RETRIES, true);
    if (!folder.relist) folder.shortages = 0;
  }

  /** Without descriptors or memory, no event would ask for the file again: lists the folder soon. */
  #failed(folder: Folder, file: string, error: unknown): void {
    this.#events.onProblem(file, (error as Error).message);
    if (!isShortage(error) || folder.relist) return;
    folder.shortages += 1;
    folder.relist = true;
    this.#later(shortageWaitMs(folder.shortages), () => {
      folder.relist = false;
      this.#list(folder);
    });
  }

  /**
   * Checks on a slow timer that the watched folders are the current ones and that every file is known.
   */
  check(): void {
    for (const folder of this.#folders) if (!folder.watch.isMissing && !folder.watch.check()) this.#list(folder);
  }

  #later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#closed) action();
    }, ms);
    this.#timers.add(timer);
  }

  /** @param unlessKnown skips a file that was not written since its record was read */
  #read(folder: Folder, name: string, retries: number, unlessKnown = false): void {
    const file = path.join(folder.dir, name);
    let read: ReturnType<typeof readRegularFile>;
    try {
      const known = this.#unread.get(file) ?? this.#byPath.get(file);
      read = readRegularFile(file, MAX_RECORD_BYTES, unlessKnown ? known?.writtenAtMs : undefined);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        this.#forget(file);
        // inotify reports the removal of the folder itself under its own name; the watch ended.
        if (name === path.basename(folder.dir)) folder.watch.check();
      } else this.#failed(folder, file, error);
      return;
    }
    if (read === null) {
      const unread = this.#unread.get(file);
      if (unread) this.#events.onProblem(file, unread.reason);
      return;
    }
    if ('reason' in read) {
      this.#refuse(file, read.reason);
      return;
    }
    const json = withoutCapabilityArgs(read.content);
    const reading =
      json.length > MAX_PARSED_BYTES
        ? { reason: `${json.length} bytes without capabilityArgs are more than the limit of ${MAX_PARSED_BYTES}` }
        : readCniRecord(name, json.toString('utf8'), read.writtenAtMs);
    if ('reason' in reading && reading.reason.startsWith('not JSON') && retries > 0)
      this.#later(RETRY_MS, () => this.#read(folder, name, retries - 1));
    else this.#add(file, reading, read.writtenAtMs);
  }

  #add(file: string, reading: ReturnType<typeof readCniRecord>, writtenAtMs: number): void {
    if ('reason' in reading) {
      this.#refuse(file, reading.reason, writtenAtMs);
      return;
    }
    const { podNamespace } = reading.record;
    if (!this.#byPath.has(file) && !this.#counts.hasRoom(podNamespace)) {
      this.#refuse(file, `namespace ${podNamespace} has its share of the ${this.#counts.most} CNI records of the node`);
      return;
    }
    for (const reason of reading.dropped) this.#events.onProblem(file, reason);
    this.#forget(file);
    this.#counts.add(podNamespace);
    this.#byPath.set(file, reading.record);
    this.#events.onRecord(reading.record);
  }

  #refuse(file: string, reason: string, writtenAtMs?: number): void {
    this.#unread.set(file, { reason, ...(writtenAtMs === undefined ? {} : { writtenAtMs }) });
    this.#events.onProblem(file, reason);
  }

  #forget(file: string): void {
    this.#unread.delete(file);
    const record = this.#byPath.get(file);
    if (record && this.#byPath.delete(file)) this.#counts.remove(record.podNamespace);
  }

  /** Whether the pod of an interface chose its addresses, or its MAC; null: no record was read. */
  isChosen(
    { link, podUid }: Pick<Binding, 'link' | 'podUid'>,
    what: 'isChosen' | 'isMacChosen' = 'isChosen',
  ): boolean | null {
    // Multus is a plugin of the runtime, so the first interface has two records, of which one has the choice. A
    // pod can make that one too large to be read, so one that was not read may show a choice.
    const own = [...this.#byPath.values()].filter(
      (record) => record.podUid === podUid && record.hostInterfaces.includes(link.name),
    );
    return own.length === 0 ? null : own.some((record) => record[what] || this.#hasUnread(record));
  }

  /** Bridge and VLAN of the network of an interface; null: unknown. */
  segmentOf({ link, podUid }: Pick<Binding, 'link' | 'podUid'>): string | null {
    const own = [...this.#byPath.values()].find(
      (record) => record.podUid === podUid && record.hostInterfaces.includes(link.name),
    );
    return own?.segment ?? null;
  }

  /** Whether another record of the interface was not read: names of files end alike, by sandbox and interface. */
  #hasUnread({ containerId, ifName }: CniRecord): boolean {
    return [...this.#unread.keys()].some((file) => file.endsWith(`-${containerId}-${ifName}`));
  }

  /**
   * Applies the record of a CNI call as if its file had been read. libcni writes the file after the
   * call, so the record is not held: its interface is bound now, or its call fails.
   */
  apply(record: CniRecord): void {
    this.#call = record;
    try {
      this.#events.onRecord(record);
    } finally {
      this.#call = null;
    }
  }

  close(): void {
    this.#closed = true;
    for (const { watch } of this.#folders) watch.close();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
