/**
 * Directories of pins on a bpffs. The collector and a `detach` command may remove pins at the same
 * time.
 */
import { existsSync, readdirSync } from 'node:fs';

/** Names in a directory; empty if it does not exist. */
export function listPins(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** Whether an error means that another process removed the pin first. */
export function isPinGone(error: unknown): boolean {
  const { code, errnoName } = error as { code?: unknown; errnoName?: unknown };
  return code === 'ENOENT' || errnoName === 'ENOENT';
}
