/**
 * Installs the CNI plugin on the node and keeps it installed: the binary, then a configuration list
 * of our own before the primary's. It follows changes of the primary's file, and restores what
 * another program removed.
 *
 * The watch is armed before the first look, and a slow timer looks again, because events can be
 * lost and directories replaced. Only `collector uninstall-cni` removes anything. Never throws.
 */

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { isBeforeOwn, OWN_CONFLIST, primaryOf } from '@bailiff/vocabulary';
import { DirectoryWatch } from '../process/directory-watch.ts';
import type { OnProblem } from '../process/problem-log.ts';
import { chain, PLUGIN_TYPE, type PluginSettings } from './conflist.ts';
import { isFile, type NodeFile, putFile, readIfPresent } from './node-file.ts';

/**
 * Modes that the list copies from the primary's file, which may contain a secret. Some runtimes read
 * it as another user, so it keeps their right to read.
 */
const COPIED_MODES = 0o644;
const OWNER_MODE = 0o600;
/** A burst of events of one change is one look. */
const SETTLE_MS = 50;
/** Another program that undoes each write would otherwise cause a loop. */
const MAX_WRITES = 6;
const WRITES_PER_MS = 60_000;

export interface InstallerOptions {
  /** The plugin's file in the collector's image. */
  plugin: string;
  confDir: string;
  binDir: string;
  settings: PluginSettings;
  nowMs(): number;
  onInstalled(what: string): void;
  onProblem: OnProblem;
}

export class Installer {
  readonly #o: InstallerOptions;
  readonly #watch: DirectoryWatch;
  #timer: NodeJS.Timeout | null = null;
  #writes: number[] = [];
  #closed = false;
  /** Another list is before ours. */
  #isShadowed = false;
  /** Whether the runtime uses our list and finds the plugin, at the last look. */
  isInstalled = false;

  constructor(options: InstallerOptions) {
    this.#o = options;
    const { confDir, onProblem } = options;
    this.#watch = new DirectoryWatch(confDir, {
      changed: () => this.#lookSoon(),
      onProblem: (dir, reason, error) => onProblem('installation', `cannot watch ${dir}: ${reason}`, error),
    });
  }

  start(): void {
    this.#watch.start();
    this.look();
  }

  /** Compares the node with what should be installed, and writes what differs. */
  look(): void {
    if (this.#closed) return;
    const { binDir, confDir } = this.#o;
    this.#isShadowed = false;
    this.#watch.check();
    const hasPlugin = this.#attempt(binDir, () => this.#installPlugin());
    // A list that names a missing plugin would fail every pod of the node.
    if (hasPlugin) this.#attempt(confDir, () => this.#installConflist());
    this.isInstalled = hasPlugin && !this.#isShadowed && existsSync(path.join(confDir, OWN_CONFLIST));
  }

  #attempt(dir: string, action: () => void): boolean {
    try {
      action();
      return true;
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      const advice = ['EROFS', 'EACCES', 'EPERM'].includes(code)
        ? ': it must be writable for the collector (cniConfDir, cniBinDir)'
        : '';
      this.#o.onProblem(
        'installation',
        `cannot install the CNI plugin in ${dir}: ${(error as Error).message}${advice}`,
        error,
      );
      return false;
    }
  }

  #lookSoon(): void {
    if (this.#timer || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.look();
    }, SETTLE_MS);
  }

  #installPlugin(): void {
    const plugin = readIfPresent(this.#o.plugin);
    if (plugin === null) throw new Error(`${this.#o.plugin} is missing from the collector's image`);
    const file = path.join(this.#o.binDir, PLUGIN_TYPE);
    if (putFile(file, plugin.content, 0o755)) this.#o.onInstalled(file);
  }

  #installConflist(): void {
    const { confDir, settings } = this.#o;
    const primary = primaryOf(readdirSync(confDir));
    // Without a primary ours stays: the primary may be in the middle of a restart.
    if (primary === null) {
      this.#o.onProblem('installation', `${confDir} has no configuration of a primary plugin: nothing to chain to yet`);
      return;
    }
    if (isBeforeOwn(primary)) {
      this.#isShadowed = true;
      this.#o.onProblem(
        'installation',
        `${primary} in ${confDir} sorts before ${OWN_CONFLIST}: the runtime does not use ours. Rename it`,
      );
      return;
    }
    const source = readIfPresent(path.join(confDir, primary));
    const chained = chain(source?.content.toString('utf8') ?? '', settings);
    if ('reason' in chained) {
      // It may be half written: its next event, or the timer, looks again.
      this.#o.onProblem('installation', `${primary} in ${confDir} cannot be chained: ${chained.reason}`);
      return;
    }
    const mode = ((source?.mode ?? 0) & COPIED_MODES) | OWNER_MODE;
    this.#write(path.join(confDir, OWN_CONFLIST), { content: Buffer.from(chained.text), mode }, primary);
  }

  #write(file: string, { content, mode }: NodeFile, primary: string): void {
    if (isFile(file, content, mode)) return;
    const now = this.#o.nowMs();
    this.#writes = this.#writes.filter((at) => at > now - WRITES_PER_MS);
    if (this.#writes.length >= MAX_WRITES) {
      this.#o.onProblem(
        'installation',
        `another program keeps changing or removing ${file}: configure it to leave other files alone (Cilium: cni.exclusive=false)`,
      );
      return;
    }
    this.#writes.push(now);
    putFile(file, content, mode);
    this.#o.onInstalled(`${file}, chained to ${primary}`);
  }

  close(): void {
    this.#closed = true;
    this.#watch.close();
    if (this.#timer) clearTimeout(this.#timer);
  }
}
