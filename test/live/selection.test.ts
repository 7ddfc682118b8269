import { expect, it } from 'vitest';
import { readFlags } from './flags.ts';
import { SCENARIOS } from './scenarios/index.ts';
import { selectScenarios } from './selection.ts';

const all = ['spoof-ipv4-source', 'spoof-arp-sender', 'spoofing', 'verdict'].map((name) => ({ name }));
const names = (only: string[]) => selectScenarios(all, only).map(({ name }) => name);

it('selectScenarios takes all without names', () => {
  expect(names([])).toHaveLength(4);
});

it('selectScenarios takes names and prefixes, in the order of the suite', () => {
  expect(names(['verdict', 'spoof'])).toEqual(['spoof-ipv4-source', 'spoof-arp-sender', 'verdict']);
});

it('selectScenarios refuses a name that selects none', () => {
  expect(() => names(['verdicts'])).toThrow('known are spoof-ipv4-source');
});

it('scenarios have unique names, and each attack has a control', () => {
  expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length);
  expect(SCENARIOS.filter(({ name, control }) => name.startsWith('spoof-') && !control)).toEqual([]);
});

it('readFlags needs a kubeconfig, splits names, and changes nothing without a flag', () => {
  expect(() => readFlags([])).toThrow('--kubeconfig');
  expect(() => readFlags(['--kubeconfig', 'f', '--forced'])).toThrow('--forced');
  expect(readFlags(['--kubeconfig', 'f', '--only', 'a, b,'])).toMatchObject({
    kubeconfig: 'f',
    only: ['a', 'b'],
    yes: false,
    install: false,
    uninstall: false,
  });
});
