/**
 * A disk that loses its power: an ext4 file system in a file, which loses all data that was not
 * synced at once. The kernel shuts the file system down without writing its journal or dirty pages
 * (EXT4_IOC_SHUTDOWN), and mounts it again as after a power failure. Synced data is in the file
 * behind the loop device. The test does not cover disks with a volatile cache.
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

  /** Syncs the current data. */
  async sync(): Promise<void> {
    await exec('sync', ['-f', this.place]);
  }

  /**
   * Makes every later write fail. This process blocks meanwhile, so that it cannot mistake a later
   * acknowledgement for an earlier one: a server without power sends none, but a server that
   * ignores a failed fsync does.
   */
  unplug(): void {
    execFileSync('python3', ['-c', SHUTDOWN, this.place]);
  }

  /** Mounts the remaining data. No process may have a file open there. */
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
