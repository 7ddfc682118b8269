/** Files in the CNI directories of the node, which the runtime and other programs use too. */
import { replaceFile } from '@bailiff/service';
import { readRegularFile } from '../process/regular-file.ts';

/** Limit of a file that is compared or copied. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;

export interface NodeFile {
  content: Buffer;
  mode: number;
}

/** @returns null: there is no such file. @throws Error with the reason why it is not read */
export function readIfPresent(file: string): NodeFile | null {
  let read: ReturnType<typeof readRegularFile>;
  try {
    read = readRegularFile(file, MAX_FILE_BYTES);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'ELOOP') throw new LinkError(`${file} is a symbolic link, which is not followed`);
    throw error;
  }
  if (read === null || 'reason' in read) throw new Error(`${file}: ${read?.reason}`);
  return read;
}

class LinkError extends Error {}

/** Whether the file has this content and mode. A link has not, so that a file replaces it. */
export function isFile(file: string, content: Buffer, mode: number): boolean {
  try {
    const found = readIfPresent(file);
    return found?.mode === mode && found.content.equals(content);
  } catch (error) {
    if (error instanceof LinkError) return false;
    throw error;
  }
}

/** @returns whether anything was written: equal content and mode stay as they are */
export function putFile(file: string, content: Buffer, mode: number): boolean {
  if (isFile(file, content, mode)) return false;
  replaceFile(file, content, { durable: true, mode });
  return true;
}
