// The responder's queues with a Redis whose connections stay open and are of no use: it is silent, as
// when its machine is down, it became a replica, as after a failover, it is full, or its clock is set back.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { waitFor } from '@bailiff/service/testing';
import { Redis } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import type { Job } from '../../apps/responder/src/ports.ts';
import { type QueueOptions, Queues } from '../../apps/responder/src/scheduling/queues.ts';
import { redisOptions } from '../../apps/responder/src/scheduling/redis-options.ts';
import { startRedis } from '../support/redis.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/**
 * A relay between the queues and Redis. `silence`: existing connections are cut off; new ones work.
 * `leadTo`: new connections lead to another Redis, as those to a Service after a failover.
 */
async function startRelay(path: string) {
  let target = path;
  const ends = new Set<net.Socket>();
  const pairs: [net.Socket, net.Socket][] = [];
  const server = net.createServer((near) => {
    const far = net.connect(target);
    pairs.push([near, far]);
    for (const end of [near, far]) {
      ends.add(end);
      end.on('error', () => undefined).on('close', () => ends.delete(end));
    }
    near.pipe(far).pipe(near);
    near.once('close', () => far.destroy());
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
  const leadTo = (other: string) => {
    target = other;
  };
  return { port: (server.address() as AddressInfo).port, silence, leadTo };
}

const jobOf = (taskId: string): Job => ({
  kind: 'do',
  taskId,
  action: 'label',
  verdictId: 'v',
  policy: 'p',
  sequence: 1,
  tries: 0,
  failingSinceMs: 0,
});

/** Queues behind the relay. `put` adds a job. */
async function startQueues(port: number, more: Pick<QueueOptions, 'probeMs'> = {}) {
  const reported: string[] = [];
  const reasons: string[] = [];
  const done: string[] = [];
  const queues = new Queues({
    redis: { host: '127.0.0.1', port },
    prefix: 'lost',
    ...more,
    concurrency: 1,
    maxPerSecond: 100,
    lockDurationMs: 1_000,
    run: async ({ taskId }) => {
      done.push(taskId);
      return { kind: 'done' };
    },
    onJobFailure: () => undefined,
    onForeignJob: () => undefined,
    onRedisError: () => undefined,
    onRedisReady: () => reported.push('ready'),
    onRedisLost: (error) => {
      reported.push('lost');
      reasons.push(error?.message ?? '');
    },
  });
  cleanUps.push(() => queues.close());
  const state = () => ({ reported, done, problem: queues.problem });
  const put = (taskId: string) => queues.add([{ id: taskId, delayMs: 0, turn: 1, job: jobOf(taskId) }]);
  await waitFor(() => queues.ready, { what: 'Redis to be ready', state });
  await put('before');
  await waitFor(() => done.includes('before'), { what: 'a job with a working Redis', state });
  return { queues, reported, reasons, done, state, put };
}

const pathOf = ({ url }: { url: string }) => redisOptions(url, null).path as string;

it('queues - a silent Redis is reported as lost, reconnected, and its jobs are done', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(redis));
  const { queues, reported, done, state, put } = await startQueues(relay.port);

  relay.silence();
  await expect(put('meanwhile')).rejects.toThrow();
  await waitFor(() => reported.includes('lost'), { what: 'the silence to be detected', timeoutMs: 40_000, state });
  await waitFor(() => queues.ready, { what: 'Redis to be reconnected', state });
  // Each of the two connections has its own timeout: the one that adds may be the later.
  await waitFor(() => put('after').then(() => true), { what: 'a job to be accepted', state });
  await waitFor(() => done.includes('after'), { what: 'a job after it', state });
  expect(reported.slice(0, 3)).toEqual(['ready', 'lost', 'ready']);
}, 90_000);

it('queues - a Redis that became a replica is left for the one that new connections lead to', async () => {
  const [former, next] = [await startRedis(), await startRedis()];
  for (const redis of [former, next]) cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(former));
  const { queues, reported, reasons, done, state, put } = await startQueues(relay.port);

  relay.leadTo(pathOf(next));
  await former.becomeReplica();
  // The control: the connections are alive, and the server refuses.
  await expect(put('refused')).rejects.toThrow('READONLY');
  await waitFor(() => reported.includes('lost'), { what: 'the refusal to count as lost', state });
  expect(reasons[0]).toContain('READONLY');
  await waitFor(() => queues.ready, { what: 'Redis to be reconnected', state });
  await waitFor(() => put('after').then(() => true), { what: 'a job to be accepted', state });
  await waitFor(() => done.includes('after'), { what: 'a job after it', timeoutMs: 30_000, state });
  expect(reported.slice(0, 3)).toEqual(['ready', 'lost', 'ready']);
}, 90_000);

it('queues - a Redis that stays a replica is not ready between its reconnects; control: one that accepts writes', async () => {
  const [former, next] = [await startRedis(), await startRedis()];
  for (const redis of [former, next]) cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(former));
  const { queues, reported, state } = await startQueues(relay.port);
  const isWell = () => queues.ready && queues.refusal === '';
  await former.becomeReplica();
  await waitFor(() => reported.includes('lost'), { what: 'the refusal to count as lost', state });
  let well = 0;
  const again = () => {
    if (isWell()) well += 1;
    return reported.filter((what) => what === 'ready').length > 3;
  };
  await waitFor(again, { what: 'some reconnects', timeoutMs: 60_000, state });
  expect(well).toBe(0);
  relay.leadTo(pathOf(next));
  await waitFor(isWell, { what: 'the other Redis', timeoutMs: 30_000, state });
}, 120_000);

it('queues - a Redis with another password is named as such, until it accepts the former one', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(redis));
  const { queues, done, state, put } = await startQueues(relay.port);
  // The control: connections that are open stay in use.
  await redis.configure('requirepass', 'another');
  await put('open');
  expect(queues.problem).toBe('');

  relay.silence();
  const isRefused = () => queues.problem.startsWith('Redis refuses the login: NOAUTH');
  await waitFor(isRefused, { what: 'the refusal', timeoutMs: 40_000, state });
  await redis.kill();
  await waitFor(() => queues.problem.startsWith('Redis is not reachable: '), { what: 'the loss', state });
  await redis.start();
  await waitFor(() => queues.problem === '', { what: 'Redis to be ready', state });
  await waitFor(() => put('after').then(() => true), { what: 'a job to be accepted', state });
  await waitFor(() => done.includes('after'), { what: 'a job after it', state });
}, 90_000);

it('queues - a full Redis is connected, and its refusal is reported until it accepts a job', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(redis));
  const { queues, done, state, put } = await startQueues(relay.port);
  // The control.
  expect([queues.ready, queues.refusal]).toEqual([true, '']);

  await redis.configure('maxmemory', '1');
  await expect(put('refused')).rejects.toThrow('OOM');
  expect([queues.ready, queues.refusal]).toEqual([true, expect.stringContaining('OOM')]);

  await redis.configure('maxmemory', '0');
  await put('after');
  expect(queues.refusal).toBe('');
  await waitFor(() => done.includes('after'), { what: 'a job after it', state });
}, 60_000);

it('queues - a full Redis is reported without a job, and no longer when it has room', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(redis));
  const { queues, state } = await startQueues(relay.port, { probeMs: 100 });
  await waitFor(async () => (await redis.keys('lost:probe')).length === 1, { what: 'a write without a job', state });
  // The control.
  expect([queues.ready, queues.refusal]).toEqual([true, '']);

  await redis.configure('maxmemory', '1');
  await waitFor(() => queues.refusal.includes('OOM'), { what: 'the refusal', state });
  await redis.configure('maxmemory', '0');
  await waitFor(() => queues.refusal === '', { what: 'its end', state });
}, 60_000);

it('queues - jobs start again although the clock of Redis was set back by a day; control: before the look', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(redis));
  const { queues, done, state, put } = await startQueues(relay.port, { probeMs: 3_000 });
  const client = new Redis({ path: pathOf(redis) });
  cleanUps.push(() => client.disconnect());
  const limiter = 'lost:respond-label:limiter';
  let doneBefore: readonly string[] = [];
  const looked = async () => {
    const ended = [...done];
    const isOver = (await client.pttl(limiter)) < 60_000;
    if (!isOver) doneBefore = ended;
    return isOver;
  };
  // The count of the second in which the clock was set back, as full as it becomes after that.
  await client.set(limiter, 100, 'PX', 86_400_000);
  await put('after');
  await waitFor(looked, { what: 'the next look', state });
  expect(doneBefore).toEqual(['before']);
  await waitFor(() => done.includes('after'), { what: 'the job', state });
  expect(queues.refusal).toBe('');
}, 60_000);

it('queues - a job whose list was evicted is not added again, but under another id', async () => {
  const redis = await startRedis();
  cleanUps.push(() => redis[Symbol.asyncDispose]());
  const relay = await startRelay(pathOf(redis));
  const { queues, done, state } = await startQueues(relay.port);
  const client = new Redis({ path: pathOf(redis) });
  cleanUps.push(() => client.disconnect());
  const put = (id: string, taskId: string, delayMs = 0) => queues.add([{ id, delayMs, turn: 1, job: jobOf(taskId) }]);

  await put('a', 'delayed', 3_600_000);
  expect(await client.del('lost:respond-label:delayed')).toBe(1);
  await put('a', 'added again');
  await put('a-1', 'another id');
  await waitFor(() => done.includes('another id'), { what: 'the job under another id', state });
  expect(done).toEqual(['before', 'another id']);
  // The control: an evicted job is added.
  expect(await client.del('lost:respond-label:a')).toBe(1);
  await put('a', 'after its eviction');
  await waitFor(() => done.includes('after its eviction'), { what: 'the evicted job', state });
});
