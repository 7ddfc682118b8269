/**
 * What the host does for a tier before its machine boots, because there it takes a tenth of the time: programs of tests are
 * compiled, and modules transformed into the cache that vitest inside reads (inside.config.ts).
 *
 * Test files are loaded for it, and nothing of them is run. What only the machine inside has, a file may miss when it is loaded: what it
 * imports is in the cache all the same, and what is not is made inside, where whoever needs it says what is wrong with it.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { counterObject, frameHelper } from '../kernel/harness/processes.ts';
import { compileProgram } from './compile.ts';
import { repoRoot } from './kernels.ts';
import type { TierName } from './tiers.ts';

const LIST_TIMEOUT_MS = 120_000;
const PROGRAMS = path.join(repoRoot, 'test/lsm/programs');

function compilePrograms(name: TierName): void {
  if (name === 'kernel') {
    frameHelper();
    counterObject();
    return;
  }
  const sources = [
    ...readdirSync(PROGRAMS).map((file) => path.join(PROGRAMS, file)),
    path.join(PROGRAMS, '../harness/acts.c'),
  ];
  for (const file of sources) {
    if (file.endsWith('.c') && /^int main\(/m.test(readFileSync(file, 'utf8')))
      compileProgram(file, { flags: ['-static'] });
  }
}

/** @param files as vitest inside is told; none: all of the tier */
export async function prepareTier(name: TierName, files: readonly string[]): Promise<void> {
  compilePrograms(name);
  const own = Object.entries(process.env).filter(([key]) => !key.startsWith('VITEST'));
  // Directories that they make when they are loaded; what would remove them is not run.
  const scratch = mkdtempSync(path.join(tmpdir(), 'bailiff-list-'));
  const words = ['node_modules/vitest/vitest.mjs', 'list', '--config', 'test/vm/inside.config.ts', ...files];
  await new Promise<void>((resolve) => {
    execFile(
      process.execPath,
      words,
      {
        cwd: repoRoot,
        env: { ...Object.fromEntries(own), BAILIFF_VM_TIER: name, TMPDIR: scratch },
        timeout: LIST_TIMEOUT_MS,
      },
      // Whatever came of it: see above.
      () => resolve(),
    );
  });
  rmSync(scratch, { recursive: true, force: true });
}
