import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { makeProgram } from '../run.ts';
import { captureCli, runCli } from '../testing.ts';
import { complete } from './completion.ts';

const program = makeProgram(captureCli().io);

it.each<[string, string[]]>([
  ['verd', ['verdicts']],
  ['quarantine ', ['list', 'release']],
  ['quarantine rel', ['release']],
  ['verdicts --le', ['--level']],
  ['verdicts --level h', ['high']],
  ['verdicts -o ', ['json', 'jsonpath=', 'name', 'table', 'wide', 'yaml']],
  ['verdicts --level=h', ['--level=high']],
  ['verdicts --level = h', ['high']],
  ['verdicts --level =', ['critical', 'high', 'informational', 'low', 'medium']],
  ['verdicts --level=high --le', ['--level']],
  ['verdicts --pod=', []],
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

const has = (shell: string) => spawnSync(shell, ['--version']).status === 0;

/** What a shell prints whose candidates for any words are these words, one a line. */
async function inShell(shell: string, flags: readonly string[], steps: (script: string) => string): Promise<string> {
  const directory = temporaryDirectory();
  const script = path.join(directory, '_bailiff');
  writeFileSync(script, (await runCli(['completion', shell])).stdout);
  const { stdout, stderr } = spawnSync(shell, [...flags, '-c', steps(script)], { encoding: 'utf8' });
  return stdout + stderr;
}

it('bash - the words up to the cursor, of which one may be empty, are passed on', async () => {
  const printed = await inShell(
    'bash',
    ['--norc'],
    (script) => `bailiff() { shift 2; printf '<%s>\\n' "$@"; }; source '${script}'
COMP_WORDS=(bailiff verdicts --level = '' later); COMP_CWORD=4; _bailiff; printf '%s\\n' "\${COMPREPLY[@]}"`,
  );
  expect(printed).toBe('<verdicts>\n<--level>\n<=>\n<>\n');
});

it('zsh - the first completion of a shell has candidates', async ({ skip }) => {
  skip(!has('zsh'), 'zsh is not installed');
  const printed = await inShell(
    'zsh',
    ['-f'],
    (script) => `bailiff() { shift 2; printf '<%s>\\n' "$@"; }; compadd() { shift; print -rl -- "$@"; }
compdef() { print compdef; }; fpath=('${path.dirname(script)}'); autoload -Uz _bailiff
words=(bailiff verdicts '' later); CURRENT=3; _bailiff`,
  );
  expect(printed).toBe('<verdicts>\n<>\n');
});

it('fish - candidates of the words up to the cursor', async ({ skip }) => {
  skip(!has('fish'), 'fish is not installed');
  const printed = await inShell(
    'fish',
    ['--no-config'],
    (script) => `function bailiff; echo --le:(string join , -- $argv[3..]); end; source '${script}'
complete -C 'bailiff verdicts --le'`,
  );
  expect(printed).toBe('--le:verdicts,--le\n');
});
