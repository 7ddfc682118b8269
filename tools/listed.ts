/** Files of the workspace as listed by git: indexed files, and new files that are not ignored. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
/**
 * Any user who runs the tests may read the workspace. git otherwise requires a setting in the home
 * directory, which is empty.
 */
const ANY_OWNER = ['-c', 'safe.directory=*'];

/** Paths relative to the workspace. @param only patterns and directories to include */
export function listed(...only: readonly string[]): string[] {
  const args = [...ANY_OWNER, 'ls-files', '--cached', '--others', '--exclude-standard', '--', ...only];
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).split('\n').filter(Boolean);
}
