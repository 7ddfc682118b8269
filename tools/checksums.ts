/** Checksums of files, in the format of sha256sum. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The list of a folder's checksums; `sha256sum --check` reads it. */
export const SUMS = 'SHA256SUMS';

/** In hexadecimal. */
export const sha256Of = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

/** Checksums of all files of a folder but SUMS, by name, in the order of names. */
export const checksumsOf = (folder: string): Map<string, string> =>
  new Map(
    readdirSync(folder)
      .filter((name) => name !== SUMS)
      .sort()
      .map((name) => [name, sha256Of(path.join(folder, name))]),
  );

export const checksumText = (sums: ReadonlyMap<string, string>): string =>
  [...sums].map(([name, sum]) => `${sum}  ${name}\n`).join('');

/** The inverse of checksumText. */
export const readChecksums = (text: string): Map<string, string> =>
  new Map(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => [line.slice(66), line.slice(0, 64)]),
  );
