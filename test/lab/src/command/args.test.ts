import { describe, expect, it } from 'vitest';
import { MANUAL_VECTORS } from '../attack/manual-frames.ts';
import type { LabOptions } from '../plan.ts';
import { optionFlags, parseLabArgs } from './args.ts';

describe('args', () => {
  it('up - accepts every flag', () => {
    const what = 'up --nodes 3 --pods 4 --cni ptp --unguarded --enforce --no-replace --siem --bus-auth';
    const argv = `${what} --detach --json --lab abc`.split(' ');
    expect(parseLabArgs(argv)).toEqual({
      command: 'up',
      options: {
        nodes: 3,
        podsPerNode: 4,
        cni: 'ptp',
        unguarded: true,
        enforce: true,
        replace: false,
        siem: true,
        busAuth: true,
      },
      detach: true,
      json: true,
      id: 'abc',
    });
  });

  it('up - the detached process gets the same options', () => {
    const request = parseLabArgs('up --nodes 1 --pods 7 --cni ptp --enforce --no-replace --siem --bus-auth'.split(' '));
    const again = parseLabArgs(['supervise', ...optionFlags((request as { options: LabOptions }).options)]);
    expect(again).toMatchObject({ options: (request as { options: unknown }).options });
  });

  it('down - takes an id or all, list and info print', () => {
    expect(parseLabArgs(['down'])).toEqual({ command: 'down', id: undefined, all: false });
    expect(parseLabArgs(['down', '--all'])).toEqual({ command: 'down', id: undefined, all: true });
    for (const flag of ['--lab', '--id'])
      expect(parseLabArgs(['info', flag, 'abc'])).toEqual({ command: 'info', id: 'abc', json: false });
    expect(parseLabArgs(['--help'])).toEqual({ command: 'help' });
  });

  it('attack - pod, vectors and count', () => {
    const attack = { command: 'attack', pod: 'web-0', count: 20, rate: 100, vectors: ['ipv4-source'] };
    expect(parseLabArgs(['attack', 'web-0'])).toMatchObject(attack);
    const argv = 'attack web-0 --vector arp-sender,nd-target --count 5 --rate 7 --json --lab abc'.split(' ');
    const some = { vectors: ['arp-sender', 'nd-target'], count: 5, rate: 7, json: true, id: 'abc' };
    expect(parseLabArgs(argv)).toMatchObject(some);
    expect(parseLabArgs(['attack', 'web-0', '--vector', 'all'])).toMatchObject({ vectors: [...MANUAL_VECTORS] });
  });

  it.each([
    [['attack'], /the attacking pod is missing/],
    [['attack', 'web-0', 'web-1'], /no argument "web-1"/],
    [['attack', 'web-0', '--vector', 'foo'], /--vector: "foo" is none of ipv4-source, /],
    [['attack', 'web-0', '--count', '0'], /--count must be a whole number from 1/],
    [['attack', 'web-0', '--rate', '999999'], /--rate must be a whole number from 1/],
    [['up', '--vector', 'all'], /no flag --vector/],
    [[], /a command is missing/],
    [['sideways'], /not a lab command/],
    [['constructor'], /not a lab command/],
    [['up', 'now'], /no argument "now"/],
    [['up', '--nodes', 'two'], /--nodes must be a whole number/],
    [['up', '--nodes', '-1'], /.+/],
    [['up', '--cni', 'calico'], /bridge or ptp/],
    [['up', '--all'], /no flag --all/],
    [['down', '--pods', '3'], /no flag --pods/],
    [['down', '--lab', '../..'], /^--lab: .*not a lab's id: 2 to 16 lower-case letters/],
    [['down', '--id', '../..'], /^--id: .*not a lab's id/],
    [['down', '--lab', 'abc', '--id', 'abc'], /exclude each other/],
    [['up', '--unknown'], /^there is no flag --unknown\n\(see bailiff lab --help/],
    [['up', '--nodes'], /^--nodes needs a value/],
    [['up', '--nodes', '--detach'], /^--nodes needs a value/],
    [['up', '--detach=yes'], /^--detach takes no value/],
    [['up', '--pods', '100000'], /^--pods must be a whole number from 0 to 250, not 100000/],
  ])('refused - %j', (argv, message) => {
    expect(() => parseLabArgs(argv as string[])).toThrow(message as RegExp);
  });
});
