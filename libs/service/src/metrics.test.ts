// Declarations of metrics: types that promtool and rate() rely on, and consistent readings.
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { MetricFamily, type Values } from './metrics.ts';

it('total - a value read at the scrape is a counter, and does not add up', async () => {
  const registry = new Registry();
  let kept = 3;
  new MetricFamily(registry, 'a_').total('b_total', 'B', () => kept);
  expect(await registry.metrics()).toContain('# TYPE a_b_total counter\na_b_total 3');
  kept = 5;
  expect(await registry.metrics()).toContain('a_b_total 5');
});

it.each(['gaugeBy', 'totalBy'] as const)('%s - values that are no longer read disappear', async (kind) => {
  const registry = new Registry();
  let kept: Values = { x: 1, y: 2 };
  new MetricFamily(registry, 'a_')[kind]('b', 'B', 'of', () => kept);
  expect(await registry.metrics()).toContain('a_b{of="x"} 1\na_b{of="y"} 2');
  kept = { y: 4 };
  const text = await registry.metrics();
  expect(text).toContain('a_b{of="y"} 4');
  expect(text).not.toContain('of="x"');
});

it('counter and histogram - zeros are exported before the first event', async () => {
  const registry = new Registry();
  const family = new MetricFamily(registry, 'a_');
  const counter = family.counter('b_total', 'B', ['of'], [{ of: 'x' }]);
  family.histogram('c_seconds', 'C', [1], ['of'], [{ of: 'y' }]);
  const before = await registry.metrics();
  expect(before).toContain('a_b_total{of="x"} 0');
  expect(before).toContain('a_c_seconds_count{of="y"} 0');
  counter.inc({ of: 'x' });
  expect(await registry.metrics()).toContain('a_b_total{of="x"} 1');
});

it('read - once per scrape, for all metrics of the family', async () => {
  const registry = new Registry();
  let readings = 0;
  const family = new MetricFamily(registry, 'a_', () => ++readings);
  family.gauge('b', 'B', (reading) => reading);
  family.gauge('c', 'C', (reading) => reading);
  expect(await registry.metrics()).toMatch(/a_b 1\n(?:.|\n)*a_c 1\n/);
  expect(await registry.metrics()).toMatch(/a_b 2\n(?:.|\n)*a_c 2\n/);
});
