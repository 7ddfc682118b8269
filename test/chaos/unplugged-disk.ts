/**
 * A disk that loses its power: an ext4 file system in a file, of which everything that was not written through is gone at once.
 *
 * The kernel shuts the file system down without writing its journal or the pages in memory (EXT4_IOC_SHUTDOWN), and mounts it again as after a
 * power failure. What was synced is in the file behind the loop device; a disk that keeps synced data in a cache of its own is not shown.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { exec } from '@bailiff/lab/node';

const SIZE = '256M';
/** ioctl EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (include/uapi/linux/ext4.h). */
const SHUTDOWN =
  'import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))';

export class UnpluggedDisk implements AsyncDisposable {
  readonly place: string;
  readonly #directory: string;
  readonly #image: string;
  #isMounted = false;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#image = path.join(directory, 'image');
    this.place = path.join(directory, 'disk');
  }

  static async mount(): Promise<UnpluggedDisk> {
    const disk = new UnpluggedDisk(mkdtempSync(path.join(tmpdir(), 'bailiff-power-')));
    mkdirSync(disk.place);
    await exec('truncate', ['-s', SIZE, disk.#image]);
    await exec('mkfs.ext4', ['-q', '-F', disk.#image]);
    await disk.#mount();
    return disk;
  }

  async #mount(): Promise<void> {
    await exec('mount', ['-o', 'loop', this.#image, this.place]);
    this.#isMounted = true;
  }

  /** Writes through what is there now. */
  async sync(): Promise<void> {
    await exec('sync', ['-f', this.place]);
  }

  /**
   * Every write from now on is an error. This process stands still meanwhile, so that it takes no acknowledgement from after it for one from before: a
   * server without power sends none, and one that ignores the error of its fsync does.
   */
  unplug(): void {
    execFileSync('python3', ['-c', SHUTDOWN, this.place]);
  }

  /** Mounts what is left of it. No process may have a file open there. */
  async plugIn(): Promise<void> {
    await exec('umount', [this.place]);
    this.#isMounted = false;
    await this.#mount();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isMounted) await exec('umount', [this.place]);
    rmSync(this.#directory, { recursive: true });
  }
}
