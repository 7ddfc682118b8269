// Last line and exit code of a run: each row is a complete run of vitest over one file. Also tests
// that .ci/run requests the strict mode.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const RUN_MS = 60_000;

/** Runs one test file, with vitest's functions as globals, under the reporter. */
function runOf(file: string, ci: '' | '1', args: readonly string[] = []) {
  const dir = temporaryDirectory();
  writeFileSync(path.join(dir, 'one.test.js'), file);
  const reporter = path.join(root, 'tools/closing-reporter.ts');
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
  const words = [vitest, 'run', '--root', dir, '--globals', '--reporter', reporter, ...args];
  const { status, stdout } = spawnSync(process.execPath, words, {
    env: { ...process.env, CI: ci },
    encoding: 'utf8',
    timeout: RUN_MS,
  });
  return { status, stdout, last: stdout.trimEnd().split('\n').at(-1) };
}

const good = "it('is good', () => {});\n";
const loose = "it('leaves something behind', async () => { Promise.reject(new Error('uncaught')); });\n";
const skip = (reason: string) => `it('is left out', (context) => context.skip(${reason}));\n`;

it.each([
  ['a skip with a reason', good + skip("'no root'"), '', 0, '1 passed, 0 failed, 1 skipped'],
  ['a skip without one', good + skip(''), '', 1, '1 passed, 1 failed, 1 skipped'],
  ['an optional skip, in CI', good + skip("'optional: none'"), '1', 0, '1 passed, 0 failed, 1 skipped'],
  ['any other, in CI', good + skip("'optional: none'") + skip("'no root'"), '1', 1, '1 passed, 1 failed, 2 skipped'],
  ['a file that cannot be read', `${good}throw new Error('at once');`, '', 1, '0 passed, 1 failed, 0 skipped'],
] as const)(
  'closing line - %s',
  (_name, file, ci, status, last) => {
    const run = runOf(file, ci);
    expect([run.status, run.last], run.stdout).toEqual([status, last]);
  },
  RUN_MS,
);

it(
  'closing line - an error that no test caught is printed and counted, and fails the run even where vitest lets it pass',
  () => {
    const run = runOf(good + loose, '', ['--dangerouslyIgnoreUnhandledErrors']);
    expect([run.status, run.last], run.stdout).toEqual([1, '2 passed, 1 failed, 0 skipped']);
    expect(run.stdout).toMatch(/not caught by any test: .*uncaught/);
  },
  RUN_MS,
);

/** Runs a file with run-tests.ts, which retries a failed file. */
function triedTwice(file: string) {
  const dir = temporaryDirectory();
  writeFileSync(path.join(dir, 'one.test.js'), file.replaceAll('DIR', dir));
  const words = [path.join(root, 'tools/run-tests.ts'), '--root', dir, '--globals'];
  const reporter = ['--reporter', path.join(root, 'tools/closing-reporter.ts')];
  const { status, stdout } = spawnSync(process.execPath, ['--import', 'tsx', ...words, ...reporter], {
    cwd: root,
    env: { ...process.env, CI: '1' },
    encoding: 'utf8',
    timeout: RUN_MS,
  });
  return { status, stdout, last: stdout.trimEnd().split('\n').at(-1) };
}

const once = `import { existsSync, writeFileSync } from 'node:fs';
it('fails once', () => {
  if (existsSync('DIR/tried')) return;
  writeFileSync('DIR/tried', '');
  throw new Error('the first failure');
});
`;

it.each([
  [
    'passes at the second try',
    once + good,
    0,
    '2 passed, 0 failed, 0 skipped',
    ['flaky: one.test.js > fails once: the first failure'],
  ],
  [
    'fails again',
    `${once}it('fails always', () => { throw new Error('again'); });`,
    1,
    '1 passed, 1 failed, 0 skipped',
    ['flaky: one.test.js > fails once: the first failure'],
  ],
  ['ends the process', 'process.kill(process.ppid, "SIGKILL");', 1, '0 passed, 1 failed, 0 skipped', []],
  ['passes at once', good, 0, '1 passed, 0 failed, 0 skipped', []],
] as const)(
  'second try - a file that %s',
  (_name, file, status, last, flaky) => {
    const run = triedTwice(file);
    expect([run.status, run.last], run.stdout).toEqual([status, last]);
    expect(run.stdout.split('\n').filter((line) => line.startsWith('flaky: '))).toEqual(flaky);
  },
  2 * RUN_MS,
);

/** Runs a copy of .ci/run with an `npm` that prints its arguments. */
function ciRun(ci: string | undefined): string {
  const dir = temporaryDirectory();
  for (const folder of ['.ci', 'bin']) mkdirSync(path.join(dir, folder));
  const script = path.join(dir, '.ci/run');
  writeFileSync(script, readFileSync(path.join(root, '.ci/run')), { mode: 0o755 });
  writeFileSync(path.join(dir, 'bin/npm'), '#!/bin/sh\necho "npm $* with CI=$CI"\n', { mode: 0o755 });
  const { CI: _, ...env } = process.env;
  const PATH = `${dir}/bin:${process.env['PATH']}`;
  return spawnSync(script, { env: { ...env, PATH, ...(ci === undefined ? {} : { CI: ci }) }, encoding: 'utf8' }).stdout;
}

it.each([
  [undefined, '1'],
  ['', '1'],
  ['true', 'true'],
])('.ci/run - CI=%s runs the tests with CI=%s: what should run and is skipped fails there', (given, wanted) => {
  expect(ciRun(given)).toBe(`npm test with CI=${wanted}\n`);
});
