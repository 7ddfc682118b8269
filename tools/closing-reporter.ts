// Vitest reporter: prints every skip with its reason, every error that no test is to blame for, and `N passed, N failed, N skipped`
// as the very last line. In CI a skip fails the run unless its reason begins with `optional:` — a tier that should have run and did
// not is not a pass. An error that nobody caught counts as a failure: the tests beside it may have passed by luck.
import type { Reporter, SerializedError, TestModule, Vitest } from 'vitest/node';

export default class ClosingReporter implements Reporter {
  #filtered = false;

  onInit(vitest: Vitest): void {
    // With a name filter the tests left out are skipped by the caller's own wish.
    this.#filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    let passed = 0;
    let failed = 0;
    const skipped: { name: string; reason: string }[] = [];
    for (const module of modules) {
      let tests = 0;
      for (const test of module.children.allTests()) {
        tests += 1;
        const result = test.result();
        if (result.state === 'passed') passed += 1;
        else if (result.state === 'failed') failed += 1;
        else
          skipped.push({
            name: `${module.relativeModuleId} > ${test.fullName}`,
            reason: ('note' in result && result.note) || '',
          });
      }
      // A file that could not even be collected has no failed test to count.
      if (module.errors().length > 0 || (tests === 0 && module.state() === 'failed')) failed += 1;
    }
    if (this.#filtered) skipped.length = 0;
    const unexplained = skipped.filter((s) => s.reason === '');
    const required = skipped.filter((s) => !s.reason.startsWith('optional:'));
    for (const s of skipped) console.log(`skipped: ${s.name}: ${s.reason || 'NO REASON GIVEN'}`);
    if (process.env['CI'] && required.length > 0) {
      console.log(`in CI a tier that should run may not be skipped: ${required.length} did`);
      failed += required.length;
    } else {
      failed += unexplained.length;
    }
    for (const error of unhandledErrors) console.log(`not caught by any test: ${error.stack ?? error.message}`);
    failed += unhandledErrors.length;
    if (failed > 0) process.exitCode = 1;
    process.on('exit', () => {
      process.stdout.write(`${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
    });
  }
}
