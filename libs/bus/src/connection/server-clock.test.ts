import { expect, test } from 'vitest';
import { ServerClock } from './server-clock.ts';

test('server clock - unknown before the first stamp, then never ahead of the server', () => {
  const clock = new ServerClock();
  expect(clock.nowMicros(5_000)).toBe(0);
  clock.observe(1_000_000, 10);
  expect(clock.nowMicros(10)).toBe(1_000_000);
  // A second later, less the difference in speed.
  expect(clock.nowMicros(1_010)).toBe(1_999_000);
});

test('server clock - an older message changes nothing, a newer one advances it', () => {
  const clock = new ServerClock();
  clock.observe(1_000_000, 0);
  clock.observe(1_500_000, 1_000);
  expect(clock.nowMicros(1_000)).toBe(1_999_000);
  clock.observe(2_500_000, 1_000);
  expect(clock.nowMicros(1_000)).toBe(2_500_000);
});

test('server clock - a response corrects a clock that has been set back', () => {
  const clock = new ServerClock();
  clock.observe(9_000_000, 0);
  clock.set(4_000_000, 1_000);
  expect(clock.nowMicros(1_000)).toBe(4_000_000);
});
