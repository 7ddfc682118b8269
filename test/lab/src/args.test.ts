import { describe, expect, it } from 'vitest';
import { optionFlags, parseLabArgs } from './args.ts';
import type { LabOptions } from './plan.ts';

describe('args', () => {
  it('up - every flag is taken', () => {
    const argv = 'up --nodes 3 --pods 4 --cni ptp --unguarded --enforce --no-replace --detach --json --id abc'.split(
      ' ',
    );
    expect(parseLabArgs(argv)).toEqual({
      command: 'up',
      options: { nodes: 3, podsPerNode: 4, cni: 'ptp', unguarded: true, enforce: true, replace: false },
      detach: true,
      json: true,
      id: 'abc',
    });
  });

  it('up - the process that stays is told the same options', () => {
    const request = parseLabArgs('up --nodes 1 --pods 7 --cni ptp --enforce --no-replace'.split(' '));
    const again = parseLabArgs(['supervise', ...optionFlags((request as { options: LabOptions }).options)]);
    expect(again).toMatchObject({ options: (request as { options: unknown }).options });
  });

  it('down - takes an id or all, list and info print', () => {
    expect(parseLabArgs(['down'])).toEqual({ command: 'down', id: undefined, all: false });
    expect(parseLabArgs(['down', '--all'])).toEqual({ command: 'down', id: undefined, all: true });
    expect(parseLabArgs(['info', '--id', 'abc'])).toEqual({ command: 'info', id: 'abc', json: false });
    expect(parseLabArgs(['--help'])).toEqual({ command: 'help' });
  });

  it.each([
    [[], /which command/],
    [['sideways'], /not a lab command/],
    [['constructor'], /not a lab command/],
    [['up', 'now'], /no argument "now"/],
    [['up', '--nodes', 'two'], /--nodes must be a whole number/],
    [['up', '--nodes', '-1'], /.+/],
    [['up', '--cni', 'calico'], /bridge or ptp/],
    [['up', '--all'], /no flag --all/],
    [['down', '--pods', '3'], /no flag --pods/],
    [['down', '--id', '../..'], /not a lab's id/],
    [['up', '--unknown'], /^there is no flag --unknown\n\(bailiff lab --help/],
    [['up', '--nodes'], /^--nodes needs a value/],
    [['up', '--nodes', '--detach'], /^--nodes needs a value/],
    [['up', '--detach=yes'], /^--detach takes no value/],
    [['up', '--pods', '100000'], /^--pods must be a whole number from 0 to 250, not 100000/],
  ])('refused - %j', (argv, message) => {
    expect(() => parseLabArgs(argv as string[])).toThrow(message as RegExp);
  });
});
