import { Histogram, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { quantileOf } from './histogram.ts';

async function textOf(values: readonly number[]): Promise<string> {
  const registry = new Registry();
  const histogram = new Histogram({ name: 'a_seconds', help: 'A', buckets: [0.1, 1], registers: [registry] });
  for (const value of values) histogram.observe(value);
  return registry.metrics();
}

it.each([
  ['the median of four', [0.05, 0.05, 0.5, 5], 0.5, 0.1],
  ['the third of four', [0.05, 0.05, 0.5, 5], 0.75, 1],
  ['beyond the last bound', [0.05, 0.05, 0.5, 5], 0.99, Infinity],
  ['no observation', [], 0.5, null],
])('quantileOf - %s', async (_, values, quantile, expected) => {
  expect(quantileOf(await textOf(values), 'a_seconds', quantile)).toBe(expected);
});

it('quantileOf - another name is not read', async () => {
  expect(quantileOf(await textOf([0.05]), 'seconds', 0.5)).toBeNull();
});
