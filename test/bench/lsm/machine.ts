/** Runs inside.ts in a virtual machine and returns its report. Compiles its programs on the host, which is faster. */
import path from 'node:path';
import { Bundle } from '../../vm/bundle.ts';
import { compileProgram } from '../../vm/compile.ts';
import { runInVm } from '../../vm/machine.ts';
import { compileEmptyHooks } from './empty-hooks.ts';

const PROGRAM = 'test/bench/lsm/inside.ts';
const TIMEOUT_MS = 1_500_000;
const PROGRAMS = ['contain', 'cost', 'hammer', 'mounts'].map((name) => path.join('../../lsm/programs', `${name}.c`));
const SOURCES = [...PROGRAMS, '../../lsm/harness/acts.c'];

export interface InsideOptions {
  /** Times are instructions: see MachinePlan. */
  countInstructions: boolean;
}

/** @throws VmError; Error with the output if the program fails */
export async function inside<Report>(
  what: string,
  plan: object,
  { countInstructions }: InsideOptions,
): Promise<Report> {
  compileEmptyHooks();
  for (const source of SOURCES) compileProgram(path.join(import.meta.dirname, source), { flags: ['-static'] });
  using bundle = new Bundle();
  await bundle.make([PROGRAM]);
  const words = ['node', bundle.file(PROGRAM), what, JSON.stringify(plan)];
  const { code, stdout, stderr } = await runInVm(words, { countInstructions, timeoutMs: TIMEOUT_MS });
  if (code !== 0)
    throw new Error(`${what} ended with ${code}\n${stdout.slice(-2000)}\n${bundle.places(stderr.slice(-4000))}`);
  return JSON.parse(stdout) as Report;
}
