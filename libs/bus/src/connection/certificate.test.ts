import { afterEach, expect, it, vi } from 'vitest';
import { watchEnds } from './certificate.ts';

const HOUR_MS = 3_600_000;

afterEach(() => vi.useRealTimers());

it('ends that cannot be read - are read again within minutes; control: others after an hour', async () => {
  vi.useFakeTimers();
  const stop = new AbortController();
  const end = { what: 'Redis certificate', notAfterMs: 1 };
  const read = vi.fn(async () => [{ ...end, notAfterMs: 2 }] as (typeof end)[] | null);
  read.mockResolvedValueOnce(null).mockResolvedValueOnce(null).mockResolvedValueOnce([end]);
  const ends = watchEnds(read, stop.signal);
  await vi.advanceTimersByTimeAsync(0);
  expect(ends()).toEqual([]);
  await vi.advanceTimersByTimeAsync(HOUR_MS / 20);
  expect([read.mock.calls.length, ends()]).toEqual([3, [end]]);
  await vi.advanceTimersByTimeAsync(HOUR_MS / 2);
  expect(read).toHaveBeenCalledTimes(3);
  await vi.advanceTimersByTimeAsync(HOUR_MS / 2);
  expect(ends()).toEqual([{ ...end, notAfterMs: 2 }]);
  stop.abort();
});
