/**
 * Runs a tier of tests inside the virtual machine, in one boot, and reports each of them as a test
 * of the host. Place in the path: test/vm/<tier>.test.ts → here → prepare.ts, bundle.ts →
 * machine.ts → runner.ts inside → lines.ts back.
 *
 * Invariants: every test inside is one test here, with its state, its skip reason and its errors. A
 * separate test fails if the machine died or hung, if no test ran, or if the tests do not explain
 * the exit code. The run happens during collection, because tests must be defined before they run.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'vitest';
import { CHILDREN_VARIABLE } from '../../tools/children.ts';
import { bundleTests, RUNNER } from './bundle.ts';
import { fetchMissing } from './fetch-kernel.ts';
import { repoRoot } from './kernels.ts';
import { readLines, type TestLine } from './lines.ts';
import { runInVm, VmError, whyNoVm } from './machine.ts';
import { compilePrograms } from './prepare.ts';
import { FULL_TIMES, PATIENCE, TIERS, type Tier, type TierName } from './tiers.ts';

const SHOWN_CHARACTERS = 8_000;

export interface InsideOptions {
  /** Name in kernels.json; default DEFAULT_KERNEL. */
  readonly kernel?: string;
  readonly kernelArgs?: readonly string[];
  /** Files to run instead of the whole tier; default BAILIFF_VM_FILES, separated by spaces. */
  readonly files?: readonly string[];
}

export interface InsideReport {
  readonly tests: readonly TestLine[];
  /** A failure outside the tests; null if there is none. */
  readonly trouble: string | null;
}

/**
 * Test files of the tier, relative to the workspace. `named`: only those whose path contains one of
 * these.
 */
function testsOf({ dir, names }: Tier, named: readonly string[]): string[] {
  const isWanted = (file: string): boolean => {
    if (named.length > 0) return named.some((part) => path.join(dir, file).includes(part));
    return names === null || names.includes(file.replace('.test.ts', '')) || Boolean(process.env['BAILIFF_VM_FULL']);
  };
  const files = readdirSync(path.join(repoRoot, dir)).filter((file) => file.endsWith('.test.ts'));
  return files.filter(isWanted).map((file) => path.join(dir, file));
}

export async function runTier(name: TierName, options: InsideOptions = {}): Promise<InsideReport> {
  let output = '';
  let partial = '';
  const onStdout = (chunk: Buffer) => {
    output += chunk.toString('utf8');
    partial = output.slice(-SHOWN_CHARACTERS);
  };
  compilePrograms(name);
  const tier = TIERS[name];
  const tests = testsOf(tier, options.files ?? (process.env['BAILIFF_VM_FILES'] ?? '').split(' ').filter(Boolean));
  using bundle = await bundleTests(tests, tier.programs);
  const reported = (): TestLine[] =>
    readLines(output).map((line) => ({
      ...line,
      file: line.file.replace(/\.mjs$/, '.ts'),
      errors: line.errors.map((error) => bundle.places(error)),
    }));
  try {
    const limitMs = tier.testTimeoutMs * PATIENCE;
    const words = ['node', bundle.file(RUNNER), String(limitMs), ...tests.map((test) => bundle.file(test))];
    const result = await runInVm(words, {
      kernel: options.kernel,
      kernelArgs: options.kernelArgs,
      timeoutMs: tier.timeoutMs * PATIENCE * (process.env['BAILIFF_VM_FULL'] ? FULL_TIMES : 1),
      env: { [CHILDREN_VARIABLE]: bundle.dir },
      onStdout,
    });
    const lines = reported();
    const failed = lines.filter((test) => test.state === 'failed').length;
    if (lines.length > 0 && result.code === (failed === 0 ? 0 : 1)) return { tests: lines, trouble: null };
    const tail = `${partial}\n${result.stderr.slice(-SHOWN_CHARACTERS)}`;
    return {
      tests: lines,
      trouble: `the runner inside ended with ${result.code} after ${lines.length} tests\n${tail}`,
    };
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    return { tests: reported(), trouble: `${error.message}\n--- end of the output ---\n${partial}` };
  }
}

/**
 * Call and await at the top of a test file: boots the machine, runs the tier, and defines a test
 * for each test inside.
 */
export async function tierInVm(name: TierName, options: InsideOptions = {}): Promise<void> {
  fetchMissing(options.kernel);
  const why = whyNoVm(options.kernel);
  if (why !== null) {
    describe(`${name} in the virtual machine`, () => {
      it('the whole tier', (context) => context.skip(why));
    });
    return;
  }
  const { tests, trouble } = await runTier(name, options);
  for (const file of new Set(tests.map((test) => test.file))) {
    describe(file === '' ? name : file, () => {
      for (const test of tests.filter((candidate) => candidate.file === file)) report(test);
    });
  }
  describe(`${name} in the virtual machine`, () => {
    it('machine - ran the tier to its end', () => {
      if (trouble !== null) throw new Error(trouble);
    });
  });
}

function report(test: TestLine): void {
  const note = test.state === 'passed' && test.note !== '' ? `${test.note}, ` : '';
  it(`${test.name} (${note}${test.durationMs} ms inside)`, (context) => {
    if (test.state === 'skipped') context.skip(test.note);
    if (test.state === 'passed') return;
    const error = new Error(test.errors.join('\n\n'));
    // The stack of this line is useless; the message contains the stack from inside.
    error.stack = error.message;
    throw error;
  });
}
