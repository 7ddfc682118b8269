/**
 * Follows changes of a directory by inotify, and by polling where inotify is not available: all
 * processes of a user on a node share its instances and watches, so a pod that runs as the same
 * user can use them up. The owner lists the directory after each `changed(null)`.
 *
 * A watch follows the directory, not its path: `check()` on a slow timer notices one that was
 * replaced. Nothing throws.
 */

import { type FSWatcher, statSync, watch } from 'node:fs';
import type { OnProblem } from './problem-log.ts';

/** Interval of polling. A wake-up costs more than the call. */
export const POLL_MS = 50;
/** Interval of trying inotify again. */
const REARM_MS = 1_000;
/** Interval of looking for a missing directory. */
const MISSING_MS = 1_000;

export interface DirectoryEvents {
  /** A file changed. null: any of them may have, also before the watch was armed. */
  changed(name: string | null): void;
  onProblem: OnProblem;
}

export class DirectoryWatch {
  readonly #dir: string;
  readonly #events: DirectoryEvents;
  #watcher: FSWatcher | null = null;
  /** Identity of the directory, with its birth time, because inode numbers are reused. */
  #identity = '';
  #timer: NodeJS.Timeout | null = null;
  /** Modification time at the last poll. */
  #modifiedNs = 0n;
  /** Two changes within a tick of the kernel's clock have one time: the next poll looks again. */
  #changedAtLastPoll = false;
  #armedAtMs = 0;
  #closed = false;
  /** Why inotify is not available; empty: it is, or the directory is missing. */
  unavailable = '';

  constructor(dir: string, events: DirectoryEvents) {
    this.#dir = dir;
    this.#events = events;
  }

  /** Arms the watch first and calls `changed(null)` second, so that no change is missed in between. */
  start(): void {
    if (this.#closed) return;
    this.#stop();
    const found = this.#stat();
    if (found === null) {
      this.#later(MISSING_MS, () => this.start());
      return;
    }
    this.#identity = found.identity;
    this.#modifiedNs = found.modifiedNs;
    this.#arm();
    this.#events.changed(null);
    if (!this.#watcher) this.#later(POLL_MS, () => this.#poll());
  }

  /** There is no such directory; it is searched for. */
  get isMissing(): boolean {
    return this.#identity === '';
  }

  /** Starts again if another directory is under the path now. @returns whether it did */
  check(): boolean {
    if (this.#closed || this.isMissing || this.#stat()?.identity === this.#identity) return false;
    this.#events.onProblem(this.#dir, 'the directory was removed or replaced');
    this.start();
    return true;
  }

  #stat(): { identity: string; modifiedNs: bigint } | null {
    try {
      const found = statSync(this.#dir, { bigint: true, throwIfNoEntry: false });
      if (found === undefined) return null;
      return { identity: `${found.dev}/${found.ino}/${found.birthtimeNs}`, modifiedNs: found.mtimeNs };
    } catch (error) {
      this.#events.onProblem(this.#dir, (error as Error).message, error);
      return null;
    }
  }

  #arm(): void {
    this.#armedAtMs = performance.now();
    try {
      this.#watcher = watch(this.#dir, (_event, name) => this.#events.changed(name));
      this.#watcher.on('error', (error) => {
        this.#events.onProblem(this.#dir, error.message, error);
        this.#stop();
        this.#later(POLL_MS, () => this.#poll());
      });
      this.unavailable = '';
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return; // removed meanwhile: the next poll notices it
      if (this.unavailable === '') this.#events.onProblem(this.#dir, `${message}: polling instead of inotify`, error);
      this.unavailable = code;
    }
  }

  #poll(): void {
    const found = this.#stat();
    if (found?.identity !== this.#identity) {
      this.start();
      return;
    }
    const hasChanged = found.modifiedNs !== this.#modifiedNs;
    this.#modifiedNs = found.modifiedNs;
    if (performance.now() - this.#armedAtMs >= REARM_MS) this.#arm();
    if (hasChanged || this.#changedAtLastPoll || this.#watcher) this.#events.changed(null);
    this.#changedAtLastPoll = hasChanged;
    if (!this.#watcher) this.#later(POLL_MS, () => this.#poll());
  }

  #later(ms: number, action: () => void): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      action();
    }, ms);
  }

  #stop(): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.#identity = '';
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }
}
