/** Files of the workspace, as git lists them: those of the index and those that are new and not ignored. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
/** Whoever may run the tests may read the workspace, whoever owns it: git otherwise wants a word in a home directory, and there is none. */
const ANY_OWNER = ['-c', 'safe.directory=*'];

/** Paths from the workspace's root. @param only patterns and directories to keep to */
export function listed(...only: readonly string[]): string[] {
  const args = [...ANY_OWNER, 'ls-files', '--cached', '--others', '--exclude-standard', '--', ...only];
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).split('\n').filter(Boolean);
}
