import { expect, it } from 'vitest';
import { makeProgram } from '../run.ts';
import { captureCli, runCli } from '../testing.ts';
import { complete } from './complete.ts';

const program = makeProgram(captureCli().io);

it.each<[string, string[]]>([
  ['verd', ['verdicts']],
  ['quarantine ', ['list', 'release']],
  ['quarantine rel', ['release']],
  ['verdicts --le', ['--level']],
  ['verdicts --level h', ['high']],
  ['verdicts -o ', ['json', 'jsonpath=', 'name', 'table', 'wide', 'yaml']],
  ['--context x verd', ['verdicts']],
  ['verdicts --pod ', []],
  ['__', []],
])('"%s"', (line, candidates) => {
  expect(complete(program, line.split(' '))).toEqual(candidates);
});

it('every visible command is a candidate', () => {
  const names = program.commands.map((one) => one.name()).filter((name) => name !== '__complete');
  expect(complete(program, [''])).toEqual(names.toSorted());
});

it.each(['bash', 'zsh', 'fish'])('%s has a script, which asks this program', async (shell) => {
  const { exitCode, stdout } = await runCli(['completion', shell]);
  expect([exitCode, stdout]).toEqual([0, expect.stringContaining('bailiff __complete --')]);
  expect((await runCli(['__complete', '--', 'verdicts', '--lev'])).stdout).toBe('--level\n');
});
