import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { Queues } from './queues.ts';

it('queues - an unreachable Redis is reported once with the error, and close does not wait for it', async () => {
  const lost: (Error | null)[] = [];
  const queues = new Queues({
    redis: { path: '/proc/nonexistent/redis.sock' },
    prefix: 'test',
    concurrency: 1,
    maxPerSecond: 1,
    lockDurationMs: 1_000,
    run: () => Promise.reject(new Error('no job was put in')),
    onJobFailure: () => undefined,
    onForeignJob: () => undefined,
    onRedisError: () => undefined,
    onRedisReady: () => undefined,
    onRedisLost: (error) => lost.push(error),
  });
  await waitFor(() => lost.length > 0, { what: 'the loss to be reported', state: () => queues.problem });
  expect([lost.length, String(lost[0]?.message)]).toEqual([1, expect.stringContaining('/proc/nonexistent/redis.sock')]);
  expect(queues.problem).toContain('/proc/nonexistent/redis.sock');
  await queues.close();
});
