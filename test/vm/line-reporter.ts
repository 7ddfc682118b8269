// Vitest reporter inside the virtual machine: prints one line of JSON per test as it ends, so that
// the host has the results even if the machine dies. inside.ts reads the lines; all other standard
// output belongs to the tests.
import type { Reporter, SerializedError, TestCase, TestModule, TestSuite } from 'vitest/node';
import { LINE_MARK, type TestLine } from './lines.ts';

const text = (errors: readonly SerializedError[]) =>
  errors.map((e) => [e.stack ?? `${e.name}: ${e.message}`, e['diff'] ?? ''].join('\n').trim());

export default class LineReporter implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const result = test.result();
    this.#print({
      file: test.module.relativeModuleId,
      name: test.fullName,
      state: result.state === 'pending' ? 'failed' : result.state,
      note: (result.state === 'skipped' && result.note) || '',
      errors: text(result.errors ?? []),
      durationMs: Math.round(test.diagnostic()?.duration ?? 0),
    });
  }

  /** A failed hook: vitest reports its tests as skipped, without a reason. */
  onTestSuiteResult(suite: TestSuite): void {
    const errors = text(suite.errors());
    const file = suite.module.relativeModuleId;
    if (errors.length > 0)
      this.#print({ file, name: suite.fullName, state: 'failed', note: '', errors, durationMs: 0 });
  }

  onTestModuleEnd(module: TestModule): void {
    const errors = text(module.errors());
    if (errors.length === 0) return;
    this.#print({ file: module.relativeModuleId, name: 'the file', state: 'failed', note: '', errors, durationMs: 0 });
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const errors = text(unhandled);
    if (errors.length > 0)
      this.#print({ file: '', name: 'unhandled errors', state: 'failed', note: '', errors, durationMs: 0 });
  }

  #print(line: TestLine): void {
    process.stdout.write(`\n${LINE_MARK}${JSON.stringify(line)}\n`);
  }
}
