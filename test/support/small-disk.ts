/** A small file system that a test can fill to its last block, for servers without disk space. */
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Bus } from '@bailiff/bus';
import { exec } from '@bailiff/lab/node';

/**
 * Behaviour of a server with a full disk. Before 2.14 it refuses a publish with the operating
 * system's error text, and stores the next message that fits. Since 2.14 it acknowledges no publish
 * to a stream that it could not write, and needs a restart.
 */
export interface FullDisk {
  readonly isRefused: boolean;
  /** The publisher's error text, after its error code. */
  readonly words: RegExp;
  readonly code: 'BUS_FULL' | 'BUS_TIMEOUT';
}

export function fullDiskOf(bus: Bus): FullDisk {
  const [major = 0, minor = 0] = (bus.nc.info?.version ?? '').split('.').map(Number);
  if (major === 2 && minor < 14) return { isRefused: true, words: /no space left on device/, code: 'BUS_FULL' };
  return { isRefused: false, words: /acknowledges no write.*make room.*restart nats-server/, code: 'BUS_TIMEOUT' };
}

export class SmallDisk implements AsyncDisposable {
  readonly place: string;
  constructor(place: string) {
    this.place = place;
  }
  static async mount(): Promise<SmallDisk> {
    const place = mkdtempSync(path.join(tmpdir(), 'bailiff-disk-'));
    await exec('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'bailiff-disk', place]);
    return new SmallDisk(place);
  }
  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.place);
    return bavail * bsize;
  }
  /**
   * Fills the last block. The server may free one when it rewrites a file, so callers that wait
   * call this repeatedly.
   */
  fill(): void {
    try {
      writeFileSync(path.join(this.place, 'filler'), Buffer.alloc(this.freeBytes), { flag: 'a' });
    } catch (error) {
      // The server used a block after it was counted, so no block is left.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
  makeRoom(): void {
    rmSync(path.join(this.place, 'filler'));
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await exec('umount', [this.place]);
    rmdirSync(this.place);
  }
}
