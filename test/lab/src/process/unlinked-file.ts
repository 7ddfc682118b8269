/** A file that two processes share and that nobody can find: it is gone with the last of them, however they end. */
import { mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const MAX_BYTES = 64 * 1024;
const MAX_LINES = 30;

/** Opens one, to write and to read. Whoever opens it closes it. */
export function namelessFile(): number {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-lab-'));
  try {
    return openSync(path.join(directory, 'said'), 'wx+', 0o600);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Its last lines, each on a line of its own after a colon; nothing when it is empty. Only the first MAX_BYTES are looked at. */
export function lastLines(file: number): string {
  const buffer = Buffer.alloc(MAX_BYTES);
  const text = buffer.toString('utf8', 0, readSync(file, buffer, 0, MAX_BYTES, 0)).trimEnd();
  return text === '' ? '' : `:\n${text.split('\n').slice(-MAX_LINES).join('\n')}`;
}
