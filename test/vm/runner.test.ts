// What the runner inside the virtual machine reports. Runs no machine.
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Bundle, bundleTests, RUNNER } from './bundle.ts';
import { readLines } from './lines.ts';

const [OUTCOMES, THROWS, PASSES] = ['outcomes', 'throws', 'passes'].map((name) => `test/vm/fixtures/${name}.ts`) as [
  string,
  string,
  string,
];

let bundle: Bundle;
beforeAll(async () => {
  bundle = await bundleTests([OUTCOMES, THROWS, PASSES]);
});
afterAll(() => bundle?.[Symbol.dispose]());

function run(...files: string[]) {
  const words = [bundle.file(RUNNER), '10000', ...files.map((file) => bundle.file(file))];
  const { status, stdout } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  const lines = readLines(stdout).map(({ file, name, state, note, errors }) => {
    const text = bundle.places(errors.join('\n'));
    return { test: [file.replace('.mjs', '.ts'), name].join(' › '), state, note, text };
  });
  return { status, lines };
}

it('every outcome is a line with its reason, and a failure is the exit code', () => {
  const { status, lines } = run(OUTCOMES, THROWS, PASSES);
  const line = (test: string, state: string, text = '', note = '') => ({
    test,
    state,
    note,
    text: expect.stringContaining(text),
  });
  const wanted = [
    line(`${OUTCOMES} › passes`, 'passed'),
    line(`${OUTCOMES} › fails`, 'failed', `${OUTCOMES}:11:`),
    line(`${OUTCOMES} › takes too long`, 'failed', 'timed out in 50ms'),
    line(' › unhandled errors', 'failed', 'no one waits'),
    line(`${OUTCOMES} › leaves a rejection`, 'passed'),
    line(`${OUTCOMES} › skips itself`, 'skipped', '', 'not on this kernel'),
    line(`${OUTCOMES} › a suite`, 'failed', 'no rig'),
    line(`${OUTCOMES} › a suite > does not run`, 'skipped'),
    line(`${THROWS} › the file`, 'failed', 'cannot be imported'),
    line(`${PASSES} › passes`, 'passed'),
  ];
  const byTest = (a: { test: string }, b: { test: string }) => (a.test < b.test ? -1 : 1);
  expect(lines.toSorted(byTest)).toEqual(wanted.toSorted(byTest));
  expect(lines.find(({ test }) => test.endsWith('fails'))?.text).toMatch(/value/);
  expect(status).toBe(1);
});

it('without a failure the exit code is 0', () => {
  expect(run(PASSES)).toMatchObject({ status: 0, lines: [{ state: 'passed' }] });
});
