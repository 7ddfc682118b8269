/**
 * Reads files of the node that other programs write: bounded, without blocking, and without
 * following a link. It checks the open file, so replacing the name in between has no effect.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

/** `O_NONBLOCK`: opening a FIFO would otherwise block the collector until a writer opens it. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/**
 * @param knownAtMs returns null if the file was last written at this time
 * @returns its content; or the reason why it is not read
 * @throws Error of the file system; ELOOP for a symbolic link
 */
export function readRegularFile(
  file: string,
  maxBytes: number,
  knownAtMs?: number,
): { content: Buffer; writtenAtMs: number; mode: number } | { reason: string } | null {
  const fd = openSync(file, READ_FLAGS);
  try {
    const before = fstatSync(fd);
    if (!before.isFile()) return { reason: 'not a regular file' };
    if (before.mtimeMs === knownAtMs) return null;
    // One byte more than allowed, because the file may have grown since.
    const buffer = Buffer.allocUnsafe(Math.min(before.size, maxBytes) + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length < buffer.length; length += got) {
      got = readSync(fd, buffer, length, buffer.length - length, length);
    }
    if (length > maxBytes || before.size > maxBytes)
      return { reason: `${Math.max(length, before.size)} bytes are more than the limit of ${maxBytes}` };
    // The time after reading: the content is not older than it.
    const after = fstatSync(fd);
    return { content: buffer.subarray(0, length), writtenAtMs: after.mtimeMs, mode: after.mode & 0o777 };
  } finally {
    closeSync(fd);
  }
}
