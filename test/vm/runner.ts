/**
 * Runs bundled test files inside the virtual machine, one after the other in this process:
 * `runner.mjs <milliseconds for a test or hook> <file>…`. Prints one line of JSON per test as it
 * ends (lines.ts), so that the host has the results even if the machine dies. Exits with 1 if
 * anything failed.
 */
import path from 'node:path';
import { type Suite, startTests, type TaskResult, type Test, type VitestRunner } from '@vitest/runner';
import { LINE_MARK, type TestLine } from './lines.ts';

const [program = '', limitMs, ...files] = process.argv.slice(1);
/** Of the bundle, where this file is test/vm/runner.mjs. */
const root = path.resolve(path.dirname(program), '../..');

let failed = false;

function print(line: TestLine): void {
  failed ||= line.state === 'failed';
  process.stdout.write(`\n${LINE_MARK}${JSON.stringify(line)}\n`);
}

type Errors = NonNullable<Test['result']>['errors'];
const text = (errors: Errors) =>
  (errors ?? []).map(({ name, message, stack = '', diff = '' }) => {
    // The stack of a time limit is that of another error.
    const head = stack.includes(message) ? '' : `${name}: ${message}`;
    return [head, stack, diff].filter(Boolean).join('\n');
  });

const fileOf = ({ file }: Test | Suite) => path.relative(root, file.filepath);

/** Names of the suites around a task and its own; a file is a suite without a name of its own. */
function fullName(task: Test | Suite): string {
  const names: string[] = [];
  for (let one: Test | Suite | undefined = task; one && one !== one.file; one = one.suite) names.unshift(one.name);
  return names.join(' > ') || 'the file';
}

class Runner implements VitestRunner {
  readonly config: VitestRunner['config'] = {
    root,
    name: undefined,
    setupFiles: [],
    passWithNoTests: false,
    allowOnly: false,
    maxConcurrency: 1,
    testNamePattern: undefined,
    chaiConfig: undefined,
    includeTaskLocation: false,
    retry: 0,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
    sequence: { seed: 0, hooks: 'stack', setupFiles: 'list' },
    testTimeout: Number(limitMs),
    hookTimeout: Number(limitMs),
  };

  async importFile(file: string): Promise<void> {
    await import(file);
  }

  onAfterRunTask(test: Test): void {
    printTest(test);
  }
}

function printTest(test: Test): void {
  const result: Partial<TaskResult> = test.result ?? {};
  const { state = test.mode, errors, duration = 0 } = result;
  // Why it was skipped, or what a test has to say of a run that passed.
  const { note = '' } = { ...test.meta, ...result } as { note?: string };
  print({
    file: fileOf(test),
    name: fullName(test),
    note,
    errors: text(errors),
    durationMs: Math.round(duration),
    state: state === 'pass' ? 'passed' : state === 'skip' ? 'skipped' : 'failed',
  });
}

/**
 * What a file's end leaves to print: tests that did not run, hooks that failed, and a file that
 * could not be imported.
 */
function printRest(suite: Suite): void {
  const errors = text(suite.result?.errors);
  const [file, name] = [fileOf(suite), fullName(suite)];
  if (errors.length > 0) print({ file, name, state: 'failed', note: '', errors, durationMs: 0 });
  for (const task of suite.tasks) {
    if (task.type === 'suite') printRest(task);
    else if (task.result?.state !== 'pass' && task.result?.state !== 'fail') printTest(task);
  }
}

for (const event of ['uncaughtException', 'unhandledRejection'])
  process.on(event, (error: Error) => {
    const errors = [error?.stack ?? String(error)];
    print({ file: '', name: 'unhandled errors', state: 'failed', note: '', errors, durationMs: 0 });
  });

// Time limits of tests do not keep the process running.
setInterval(() => {}, 1_000_000);
const runner = new Runner();
for (const file of files) for (const suite of await startTests([file], runner)) printRest(suite);
process.exit(failed ? 1 : 0);
