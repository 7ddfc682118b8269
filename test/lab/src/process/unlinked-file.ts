/** An unlinked file shared by two processes: it disappears with the last of them. */
import { mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const MAX_BYTES = 64 * 1024;
const MAX_LINES = 30;

/** Opens one for writing and reading. The caller closes it. */
export function unlinkedFile(): number {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-lab-'));
  try {
    return openSync(path.join(directory, 'output'), 'wx+', 0o600);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/**
 * Its last lines, each on its own line after a colon; empty without content. Only the first
 * MAX_BYTES are read.
 */
export function lastLines(file: number): string {
  const buffer = Buffer.alloc(MAX_BYTES);
  const text = buffer.toString('utf8', 0, readSync(file, buffer, 0, MAX_BYTES, 0)).trimEnd();
  return text === '' ? '' : `:\n${text.split('\n').slice(-MAX_LINES).join('\n')}`;
}
