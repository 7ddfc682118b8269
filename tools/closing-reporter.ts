// Vitest reporter: prints `N passed, N failed, N skipped` as the last line, by the rules of
// closing.ts. If run-tests.ts names a report file, it writes the report and leaves the last line to
// run-tests.ts.
import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule, Vitest } from 'vitest/node';
import { closing, type FileReport } from './closing.ts';

/** Names the report file; not for runs that tests start. */
export const REPORT_VARIABLE = 'BAILIFF_REPORT';

function fileReport(module: TestModule): FileReport {
  let passed = 0;
  const failures: { test: string; message: string }[] = [];
  const skipped: { test: string; reason: string }[] = [];
  const messageOf = (errors: readonly { message?: string }[] = []) =>
    errors[0]?.message?.split('\n')[0] ?? 'no message';
  let tests = 0;
  for (const test of module.children.allTests()) {
    tests += 1;
    const result = test.result();
    if (result.state === 'passed') passed += 1;
    else if (result.state === 'failed') failures.push({ test: test.fullName, message: messageOf(result.errors) });
    else skipped.push({ test: test.fullName, reason: ('note' in result && result.note) || '' });
  }
  // A file that could not be collected has no failed test to count.
  const errors = module.errors();
  if (errors.length > 0 || (tests === 0 && module.state() === 'failed'))
    failures.push({ test: 'the file itself', message: messageOf(errors) });
  return { project: module.project.name, file: module.relativeModuleId, passed, failures, skipped };
}

export default class ClosingReporter implements Reporter {
  readonly #reportFile = process.env[REPORT_VARIABLE];
  #filtered = false;

  constructor() {
    delete process.env[REPORT_VARIABLE];
  }

  onInit(vitest: Vitest): void {
    // With a name filter the caller requested the skips.
    this.#filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const all = modules.map(fileReport);
    const files = this.#filtered ? all.map((file) => ({ ...file, skipped: [] })) : all;
    const report = { files, uncaught: unhandledErrors.map(({ stack, message }) => stack ?? message) };
    const { lines, failed } = closing(report, Boolean(process.env['CI']));
    if (failed) process.exitCode = 1;
    if (this.#reportFile) {
      writeFileSync(this.#reportFile, JSON.stringify(report));
      return;
    }
    for (const line of lines.slice(0, -1)) console.log(line);
    process.on('exit', () => {
      process.stdout.write(`${lines.at(-1)}\n`);
    });
  }
}
