// Result of a run, and selection of the files to retry. closing-reporter.test.ts has complete runs.
import { expect, it } from 'vitest';
import { closing, type FileReport, secondTries, withSecondTry } from './closing.ts';

const file = (project: string, name: string, failed: string[] = [], passed = 1): FileReport => ({
  project,
  file: name,
  passed,
  skipped: [],
  failures: failed.map((test) => ({ test, message: `${test} failed` })),
});
const good = file('bus', 'a.test.ts');
const bad = file('bus', 'b.test.ts', ['x']);
const run = (...files: FileReport[]) => ({ files, uncaught: [] as string[] });

it.each([
  ['a file of a real tier', run(good, bad), ['b.test.ts']],
  ['five of them', run(...[...'12345'].map((name) => file('vm', name, ['x']))), [...'12345']],
  ['more than five', run(...[...'123456'].map((name) => file('vm', name, ['x']))), []],
  ['nothing that failed', run(good), []],
  ['a unit test', run(file('unit', 'u', ['x'])), []],
  ['a real one beside a unit test', run(bad, file('unit', 'u', ['x'])), []],
  ['one beside an error that no test caught', { files: [bad], uncaught: ['Error: loose'] }, []],
])('second tries - %s', (_name, report, tried) => {
  expect(secondTries(report).map(({ file: name }) => name)).toEqual(tried);
});

const flaky = 'flaky: bus > b.test.ts > x: x failed';
it.each([
  ['passes', run(file('bus', 'b.test.ts', [], 2)), [flaky], '3 passed, 0 failed, 0 skipped'],
  ['fails again', run(file('bus', 'b.test.ts', ['x'])), [], '2 passed, 1 failed, 0 skipped'],
  ['fails elsewhere', run(file('bus', 'b.test.ts', ['y'])), [flaky], '2 passed, 1 failed, 0 skipped'],
  ['leaves no report', null, [], '2 passed, 1 failed, 0 skipped'],
  ['is not run', run(), [], '2 passed, 1 failed, 0 skipped'],
  ['is of another project', run(file('bus-newest', 'b.test.ts', [], 2)), [], '2 passed, 1 failed, 0 skipped'],
  [
    'leaves an error',
    { ...run(file('bus', 'b.test.ts', [], 2)), uncaught: ['Error'] },
    [flaky],
    '3 passed, 1 failed, 0 skipped',
  ],
])('second tries - one that %s', (_name, second, expected, last) => {
  const report = withSecondTry(run(good, bad), bad, second);
  expect([report.flaky, closing(report, true).lines.at(-1)]).toEqual([expected, last]);
});

it('closing - names each failed test with its message before the last line', () => {
  expect(closing(run(good, bad), true).lines).toEqual([
    'failed: bus > b.test.ts > x: x failed',
    '2 passed, 1 failed, 0 skipped',
  ]);
});

it('second tries - what is skipped then counts as skipped', () => {
  const skipped = { ...file('bus', 'b.test.ts', [], 0), skipped: [{ test: 'x', reason: 'no root' }] };
  const report = withSecondTry(run(bad), bad, run(skipped));
  expect(closing(report, true)).toMatchObject({
    failed: true,
    lines: expect.arrayContaining(['0 passed, 1 failed, 1 skipped']),
  });
});
