/**
 * Compiles the programs of a tier's tests on the host before the machine boots: ten times as fast
 * as inside.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { foreignObject, frameHelper, holdHelper } from '../kernel/harness/processes.ts';
import { openCacheObject } from '../lsm/harness/open-cache-object.ts';
import { compileBpf, compileProgram } from './compile.ts';
import { repoRoot } from './kernels.ts';
import type { TierName } from './tiers.ts';

const LSM = path.join(repoRoot, 'test/lsm');
/** File names and flags exactly as the tests pass them. */
const LINKED: readonly (readonly [file: string, flags?: readonly string[]])[] = [
  ['programs/contain.c'],
  ['programs/reexec.c'],
  ['programs/scenario-preload.c', ['-shared', '-fPIC']],
  ['harness/dynamic.c'],
  ['harness/shared.c', ['-shared', '-fPIC']],
];

export function compilePrograms(name: TierName): void {
  if (name === 'kernel') {
    frameHelper();
    foreignObject();
    holdHelper();
    return;
  }
  const programs = readdirSync(path.join(LSM, 'programs')).map((file) => path.join(LSM, 'programs', file));
  for (const file of [...programs, path.join(LSM, 'harness/acts.c')]) {
    if (file.endsWith('.c') && /^int main\(/m.test(readFileSync(file, 'utf8')))
      compileProgram(file, { flags: ['-static'] });
  }
  for (const [file, flags] of LINKED) compileProgram(path.join(LSM, file), { flags });
  compileBpf(path.join(LSM, 'fixtures/probe.bpf.c'));
  openCacheObject();
}
