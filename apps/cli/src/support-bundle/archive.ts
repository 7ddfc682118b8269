/** A tar archive of small text files. Pure. */
import { BLOCK_BYTES, headerOf, paddingOf } from '../shared/tar.ts';

/** @param files text by name; a name has at most 99 bytes of ASCII */
export function tar(files: ReadonlyMap<string, string>, timeMs: number): Buffer {
  const blocks = [...files].flatMap(([name, text]) => {
    const body = Buffer.from(text);
    return [headerOf(name, body.length, timeMs), body, Buffer.alloc(paddingOf(body.length))];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}
