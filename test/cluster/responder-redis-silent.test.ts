// The responder's queues with a silent Redis: its connections stay open without any data, as when
// its machine is down.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, expect, it } from 'vitest';
import type { Job } from '../../apps/responder/src/ports.ts';
import { Queues } from '../../apps/responder/src/scheduling/queues.ts';
import { redisOptions } from '../../apps/responder/src/scheduling/redis-options.ts';
import { startRedis } from '../support/redis.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/**
 * A relay between the queues and Redis. `silence`: existing connections are cut off; new ones work.
 */
async function startRelay(path: string) {
  const ends = new Set<net.Socket>();
  const pairs: [net.Socket, net.Socket][] = [];
  const server = net.createServer((near) => {
    const far = net.connect(path);
    pairs.push([near, far]);
    for (const end of [near, far]) {
      ends.add(end);
      end.on('error', () => undefined).on('close', () => ends.delete(end));
    }
    near.pipe(far).pipe(near);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanUps.push(async () => {
    for (const end of ends) end.destroy();
    await once(server.close(), 'close');
  });
  const silence = () => {
    for (const [near, far] of pairs.splice(0)) {
      near.unpipe(far).pause();
      far.unpipe(near).destroy();
    }
  };
  return { port: (server.address() as AddressInfo).port, silence };
}

const jobOf = (taskId: string): Job => ({
  ...{ kind: 'do', taskId, action: 'label', verdictId: 'v', policy: 'p' },
  ...{ sequence: 1, tries: 0, failingSinceMs: 0 },
});

it('queues - a silent Redis is reported as lost, reconnected, and its jobs are done', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const { path } = redisOptions(redis.url, null);
  const relay = await startRelay(path as string);
  const reported: string[] = [];
  const done: string[] = [];
  const queues = new Queues({
    redis: { host: '127.0.0.1', port: relay.port },
    ...{ prefix: 'silent', concurrency: 1, maxPerSecond: 100, lockDurationMs: 1_000 },
    run: async ({ taskId }) => {
      done.push(taskId);
      return { kind: 'done' };
    },
    ...{ onJobFailure: () => undefined, onForeignJob: () => undefined, onRedisError: () => undefined },
    onRedisReady: () => reported.push('ready'),
    onRedisLost: () => reported.push('lost'),
  });
  cleanUps.push(() => queues.close());
  const state = () => ({ reported, done, problem: queues.problem });
  const put = (taskId: string) => queues.add([{ id: taskId, delayMs: 0, turn: 1, job: jobOf(taskId) }]);
  await waitFor(() => queues.ready, { what: 'Redis to be ready', state });
  await put('before');
  await waitFor(() => done.includes('before'), { what: 'a job with a working Redis', state });

  relay.silence();
  await expect(put('meanwhile')).rejects.toThrow();
  await waitFor(() => reported.includes('lost'), { what: 'the silence to be detected', timeoutMs: 40_000, state });
  await waitFor(() => queues.ready, { what: 'Redis to be reconnected', state });
  // Each of the two connections has its own timeout: the one that adds may be the later.
  await waitFor(() => put('after').then(() => true), { what: 'a job to be accepted', state });
  await waitFor(() => done.includes('after'), { what: 'a job after it', state });
  expect(reported.slice(0, 3)).toEqual(['ready', 'lost', 'ready']);
}, 90_000);
