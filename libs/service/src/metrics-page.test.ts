import { Gauge, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { MetricsPage, RENDER_BURST, RENDERS_PER_SECOND } from './metrics-page.ts';
import { ManualClock } from './testing.ts';

/** @param takesMs of a rendering */
function page(takesMs = 0) {
  const clock = new ManualClock();
  let busyMs = 0;
  const registry = new Registry();
  let reads = 0;
  new Gauge({
    name: 'reads',
    help: 'x',
    registers: [registry],
    collect() {
      this.set(++reads);
      busyMs += takesMs;
    },
  });
  const of = new MetricsPage(registry, { monotonicMs: () => clock.monotonicMs() + busyMs });
  const value = async () => Number(/^reads (\d+)$/m.exec(String((await of.get()).body))?.[1]);
  return { clock, of, value, busyMs: () => busyMs };
}

test('metrics page - each request reads the values, up to the burst; then the last rendering is repeated', async () => {
  const { of, value } = page();
  for (let n = 1; n <= RENDER_BURST; n++) expect(await value()).toBe(n);
  for (let n = 0; n < 1_000; n++) expect(await value()).toBe(RENDER_BURST);
  expect(of.repeated).toBe(1_000);
});

test('metrics page - under a flood, values are read at the permitted rate, and a later scrape reads them at once', async () => {
  const { clock, value } = page();
  for (let ms = 0; ms < 10_000; ms += 10) {
    await value();
    await clock.advance(10);
  }
  const last = await value();
  expect(last).toBeGreaterThanOrEqual(RENDER_BURST + 9 * RENDERS_PER_SECOND);
  expect(last).toBeLessThanOrEqual(RENDER_BURST + 11 * RENDERS_PER_SECOND);
  await clock.advance(15_000);
  expect(await value()).toBe(last + 1);
});

test('metrics page - renderings that take long use a tenth of the time; control: as many at the rate alone', async () => {
  const { clock, value, busyMs } = page(200);
  const idleMs = 60_000;
  for (let ms = 0; ms < idleMs; ms += 50) {
    await value();
    await clock.advance(50);
  }
  // Two of the burst.
  expect(busyMs()).toBeLessThanOrEqual(2 * 200 + (idleMs + busyMs()) / 10);
  expect(busyMs()).toBeGreaterThan(idleMs / 12);
  expect((idleMs / 1_000) * RENDERS_PER_SECOND * 200, 'control').toBeGreaterThan(idleMs);
});

test('metrics page - requests during a rendering share it', async () => {
  const { of, value } = page();
  expect(await Promise.all([value(), value(), value()])).toEqual([1, 1, 1]);
  expect(of.repeated).toBe(2);
});
