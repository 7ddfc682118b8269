import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import type { QueuedJob } from './backlog.ts';
import { chunksByAction, Queues } from './queues.ts';

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

/** How often lists are copied or visited. */
function iterationsOf(work: () => void): number {
  const { value: iterator } = Object.getOwnPropertyDescriptor(Array.prototype, Symbol.iterator) as PropertyDescriptor;
  let count = 0;
  Object.defineProperty(Array.prototype, Symbol.iterator, {
    configurable: true,
    writable: true,
    value(this: unknown[]) {
      count += 1;
      return iterator.call(this);
    },
  });
  try {
    work();
  } finally {
    Object.defineProperty(Array.prototype, Symbol.iterator, { configurable: true, writable: true, value: iterator });
  }
  return count;
}

it('jobs - by action in commands of 500, and a full backlog is not copied for each job', () => {
  const jobsOf = (most: number) =>
    Array.from({ length: most }, (_, n) => {
      const action = n % 100 === 0 ? 'delete' : 'label';
      return { id: `${n}`, delayMs: 0, turn: n, job: { action } } as QueuedJob;
    });
  const few = chunksByAction(jobsOf(1_200)).map(([action, some]) => [action, some.length, some[0]?.id]);
  const expected = [
    ['delete', 12, '0'],
    ['label', 500, '1'],
    ['label', 500, '506'],
    ['label', 188, '1011'],
  ];
  expect(few).toEqual(expected);
  const [more, many] = [jobsOf(1_000), jobsOf(50_000)];
  const extra = iterationsOf(() => chunksByAction(many)) - iterationsOf(() => chunksByAction(more));
  expect(extra).toBeLessThan(1_000);
});
