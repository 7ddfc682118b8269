import { expect, it } from 'vitest';
import { runCli } from '../../testing.ts';
import { fitHelp } from './fit.ts';

const WIDTH = 40;

it('help - prose is wrapped, a command is never broken, its description is beside or below it', () => {
  const text = [
    'Examples:',
    '  a --short          does one thing and then another one',
    '  a --flag-that-is-long --and-another      does it',
    '  a --flag-that-is-long --and-another --and-one-more',
    '',
    'Words that were broken for a wider',
    'terminal than the one that is there, as they often are.',
    'Exit code: 0.',
  ].join('\n');
  expect(fitHelp(text, WIDTH).split('\n')).toEqual([
    'Examples:',
    // 19 columns are left beside it: too few.
    '  a --short',
    '      does one thing and then another',
    '      one',
    '  a --flag-that-is-long --and-another',
    '      does it',
    '  a --flag-that-is-long --and-another --and-one-more',
    '',
    'Words that were broken for a wider',
    'terminal than the one that is there, as',
    'they often are. Exit code: 0.',
  ]);
  expect(fitHelp('  a --b  does one thing and then another one', WIDTH).split('\n')).toEqual([
    '  a --b  does one thing and then another',
    '         one',
  ]);
  expect([fitHelp(text, 0), fitHelp(text, 200)]).toEqual([text, text]);
});

it.each([['--help'], ['policy', '--help'], ['backtest', '--help'], ['status', '--help'], ['config', '--help']])(
  'help - of %s %s no line of words is wider than a terminal of 80 columns',
  async (...args) => {
    const { stdout } = await runCli(args.filter(Boolean), { terminal: 80 });
    // A command to be copied may be wider: a user selects it as one word.
    const wide = stdout.split('\n').filter((line) => line.length > 80 && !/^ +bailiff /.test(line));
    expect([wide, stdout.length > 500]).toEqual([[], true]);
  },
);
