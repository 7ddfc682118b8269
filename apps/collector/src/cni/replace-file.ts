/** Replaces files of the node so that a reader sees the old content or the new one, never a part. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';

/** Limit of a file that is compared or copied. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** Prefix of temporary names. They have no extension that a runtime reads. */
const TEMPORARY = '.bailiff-new-';

/** @returns null: there is no such file. @throws Error of the file system, or if it is too large */
export function readIfPresent(file: string): Buffer | null {
  const info = statSync(file, { throwIfNoEntry: false });
  if (!info) return null;
  if (!info.isFile()) throw new Error(`${file} is not a regular file`);
  if (info.size > MAX_FILE_BYTES) throw new Error(`${file} has ${info.size} bytes, more than ${MAX_FILE_BYTES}`);
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Writes a temporary file and renames it. A program that runs from the old file keeps it.
 * @returns whether anything was written: equal content and mode stay as they are
 */
export function replaceFile(file: string, content: Buffer, mode: number): boolean {
  const before = readIfPresent(file);
  if (before?.equals(content) && (statSync(file).mode & 0o777) === mode) return false;
  const fresh = path.join(path.dirname(file), `${TEMPORARY}${path.basename(file)}-tmp`);
  rmSync(fresh, { force: true });
  const fd = openSync(fresh, 'wx', mode);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(fresh, file);
  return true;
}
