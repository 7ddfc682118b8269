/**
 * Runs a tier of tests inside the virtual machine, in one boot, and reports each of them as a test
 * of the host. Place in the path: test/vm/<tier>.test.ts → here → prepare.ts, bundle.ts →
 * machine.ts → vitest inside → lines.ts back.
 *
 * Invariants: every test inside is one test here, with its state, its skip reason and its errors. A
 * separate test fails if the machine died or hung, if no test ran, or if the tests do not explain
 * the exit code. The run happens during collection, because tests must be defined before they run.
 */
import { describe, it } from 'vitest';
import { CHILDREN_VARIABLE } from '../../tools/children.ts';
import { bundleTier } from './bundle.ts';
import { fetchMissing } from './fetch-kernel.ts';
import { readLines, type TestLine } from './lines.ts';
import { runInVm, VmError, whyNoVm } from './machine.ts';
import { compilePrograms } from './prepare.ts';
import { FULL_TIMES, PATIENCE, TIERS, type TierName } from './tiers.ts';

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

export async function runTier(name: TierName, options: InsideOptions = {}): Promise<InsideReport> {
  let output = '';
  let partial = '';
  const onStdout = (chunk: Buffer) => {
    output += chunk.toString('utf8');
    partial = output.slice(-SHOWN_CHARACTERS);
  };
  compilePrograms(name);
  using bundle = await bundleTier(name);
  const config = ['--config', bundle.file('test/vm/inside.config.ts'), '--configLoader', 'native'];
  const files = options.files ?? (process.env['BAILIFF_VM_FILES'] ?? '').split(' ').filter(Boolean);
  // Full names or parts of names; bundled files have another extension.
  const filters = files.map((file) => file.replace(/\.ts$/, ''));
  const reported = (): TestLine[] =>
    readLines(output).map((line) => ({
      ...line,
      file: line.file.replace(/\.mjs$/, '.ts'),
      errors: line.errors.map((error) => bundle.places(error)),
    }));
  try {
    const words = ['node', 'node_modules/vitest/vitest.mjs', 'run', ...config, ...filters];
    const result = await runInVm(words, {
      kernel: options.kernel,
      kernelArgs: options.kernelArgs,
      timeoutMs: TIERS[name].timeoutMs * PATIENCE * (process.env['BAILIFF_VM_FULL'] ? FULL_TIMES : 1),
      env: { BAILIFF_VM_TIER: name, BAILIFF_VM_BUNDLE: bundle.dir, [CHILDREN_VARIABLE]: bundle.dir },
      onStdout,
    });
    const tests = reported();
    const failed = tests.filter((test) => test.state === 'failed').length;
    if (tests.length > 0 && (result.code === 0) === (failed === 0)) return { tests, trouble: null };
    const tail = `${partial}\n${result.stderr.slice(-SHOWN_CHARACTERS)}`;
    return { tests, trouble: `vitest inside ended with ${result.code} after ${tests.length} tests\n${tail}` };
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
  it(`${test.name} (${test.durationMs} ms inside)`, (context) => {
    if (test.state === 'skipped') context.skip(test.note);
    if (test.state === 'passed') return;
    const error = new Error(test.errors.join('\n\n'));
    // The stack of this line is useless; the message contains the stack from inside.
    error.stack = error.message;
    throw error;
  });
}
