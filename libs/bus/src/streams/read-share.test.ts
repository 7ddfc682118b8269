import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WRITE_DEADLINE_S } from '../topology/server-limits.ts';
import { ReadShare } from './read-share.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => void vi.useRealTimers());

const LIMIT = 1024 ** 2;

/** Reads a stream over a line of some bytes a second. A read that takes longer than the deadline fails. */
async function readOver(bytesPerSecond: number, reads: number) {
  const share = new ReadShare();
  const found = { failures: 0, bytes: 0, most: 0 };
  for (let times = 0; times < reads; times += 1) {
    const bytes = share.of(LIMIT);
    const tookMs = (bytes * 1_000) / bytesPerSecond;
    if (tookMs > WRITE_DEADLINE_S * 1_000) {
      found.failures += 1;
      share.reduce();
      continue;
    }
    await share.measure(async () => vi.advanceTimersByTime(tookMs));
    found.bytes += bytes;
    found.most = Math.max(found.most, bytes);
  }
  return found;
}

test('share of a read - a fast line gets the whole limit after four reads', async () => {
  expect(await readOver(100 * LIMIT, 6)).toEqual({
    failures: 0,
    bytes: LIMIT * (1 / 16 + 1 / 8 + 1 / 4 + 1 / 2 + 2),
    most: LIMIT,
  });
});

test.each([50_000, 200_000, 500_000])(
  'share of a read - a line of %i B/s never exceeds the write deadline',
  async (rate) => {
    const { failures, bytes, most } = await readOver(rate, 50);
    expect(failures).toBe(0);
    expect(bytes).toBeGreaterThan(0);
    // The control: the whole limit takes longer than the deadline on the two slower lines.
    expect(most).toBeLessThan(rate * WRITE_DEADLINE_S);
  },
);

test('share of a read - after failures it requests less, at least one message', async () => {
  const { failures, bytes } = await readOver(4_000, 50);
  expect(failures).toBeGreaterThan(0);
  expect(failures).toBeLessThan(5);
  expect(bytes).toBeGreaterThan(0);
  const share = new ReadShare();
  for (let times = 0; times < 20; times += 1) share.reduce();
  expect(share.of(16)).toBe(1);
});
