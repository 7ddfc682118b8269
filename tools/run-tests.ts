/**
 * `node --import tsx tools/run-tests.ts [option of vitest]…` runs all tests and retries a failed
 * file of a tier other than unit once, alone. A test that then passes is printed as flaky with its
 * first failure. scripts/test uses it in CI.
 *
 * The closing line and the exit code are those of the last try. A run without a report has failed
 * as it was.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { closing, type RunReport, secondTries, withSecondTry } from './closing.ts';
import { REPORT_VARIABLE } from './closing-reporter.ts';

const VITEST = path.resolve(import.meta.dirname, '../node_modules/vitest/vitest.mjs');
const options = process.argv.slice(2);
const ci = Boolean(process.env['CI']);

/** null if vitest left no report, or failed for a reason outside it. */
async function vitest(directory: string, name: string, words: readonly string[]): Promise<RunReport | null> {
  const file = path.join(directory, `${name}.json`);
  const env = { ...process.env, [REPORT_VARIABLE]: file };
  const child = spawn(process.execPath, [VITEST, 'run', ...options, ...words], { env, stdio: 'inherit' });
  const end = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  const [status] = (await once(child, 'exit')) as [number | null];
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end);
  if (!existsSync(file)) return null;
  const report = JSON.parse(readFileSync(file, 'utf8')) as RunReport;
  return status === 0 || closing(report, ci).failed ? report : null;
}

async function run(directory: string): Promise<number> {
  let report = await vitest(directory, 'first', []);
  if (!report) {
    console.log('vitest ended without a report of what failed\n0 passed, 1 failed, 0 skipped');
    return 1;
  }
  const flaky: string[] = [];
  for (const [index, file] of secondTries(report).entries()) {
    console.log(`once more, alone: ${file.project} ${file.file}`);
    const project = file.project === '' ? [] : ['--project', file.project];
    const again = withSecondTry(report, file, await vitest(directory, `again-${index}`, [...project, file.file]));
    report = again;
    flaky.push(...again.flaky);
  }
  const { lines, failed } = closing(report, ci);
  for (const line of [...flaky, ...lines]) console.log(line);
  return failed ? 1 : 0;
}

const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-tests-'));
try {
  process.exitCode = await run(directory);
} finally {
  rmSync(directory, { recursive: true });
}
