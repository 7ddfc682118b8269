/**
 * BullMQ as a scheduler, never as a memory: one queue an action kind (its limiter is a queue's own), job ids that are functions of the task,
 * delays and retries. Whatever Redis forgets is put back from the streams; whatever it holds twice is run once, because the runner looks
 * at the streams first.
 *
 * A job ends at once or is moved to `delayed` with its count of tries; BullMQ's own attempts are not used, because a bound that Redis
 * counts would end with Redis. A job whose worker died is stalled after `lockDurationMs` and taken by another.
 */
import { ACTIONS } from '@bailiff/policy';
import { type Job as BullJob, DelayedError, Queue, Worker } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import type { Job, JobResult } from '../ports.ts';
import type { QueuedJob } from './backlog.ts';
import { RedisConnector } from './redis-connector.ts';

/** Jobs put into one command: a scan of a full backlog must not be one command of megabytes. */
const ADD_CHUNK = 500;
/** Redis that does not answer within this is taken as away; the next scan puts the jobs in. */
const COMMAND_TIMEOUT_MS = 2_000;
/**
 * A connection on which an answer is due for so long is given up and made anew: Redis whose machine is gone says so to nobody, and the kernel
 * tries for a quarter of an hour. Workers wait for jobs for ten seconds at a time, so it is above that.
 */
const SILENCE_MS = 12_000;
/** A worker that dies is no fault of the job: this many of them may die over one job. */
const MAX_STALLS = 1_000;

export interface QueueOptions {
  redis: RedisOptions;
  /** Of all keys. */
  prefix: string;
  /** Jobs of one action at a time, in this process. */
  concurrency: number;
  /** Jobs of one action begun a second, over all replicas. */
  maxPerSecond: number;
  /** How long a job may be without a sign of life from its worker before another takes it. */
  lockDurationMs: number;
  run(job: Job): Promise<JobResult>;
  /** A job that ended with an unexpected error; the next scan puts it back. */
  onJobFailure(error: Error): void;
  onRedisError(error: Error): void;
  /** Redis is there (again): what it may have forgotten is put back. */
  onRedisReady(): void;
  /** It was there and is no more, or is not there at the first look. Told once until onRedisReady; why, where that is known. */
  onRedisLost(error: Error | null): void;
}

export class Queues {
  readonly #adder: Redis;
  readonly #working: Redis;
  readonly #queues = new Map<string, Queue>();
  readonly #workers: Worker[] = [];
  #told: 'nothing' | 'ready' | 'lost' = 'nothing';
  readonly #underWay = new Set<Promise<void>>();
  #closing = false;
  #lastError: Error | null = null;

  constructor(options: QueueOptions) {
    // Adding fails fast; working waits for Redis as long as it takes.
    this.#adder = connect(options, { enableOfflineQueue: false, commandTimeout: COMMAND_TIMEOUT_MS });
    this.#working = connect(options, {});
    const look = () => this.#look(options);
    for (const connection of [this.#adder, this.#working]) {
      connection.on('ready', look).on('close', look);
      connection.on('error', (error: Error) => {
        this.#lastError = error;
      });
    }
    const { prefix } = options;
    for (const action of ACTIONS) {
      const name = `respond-${action}`;
      const queue = new Queue(name, {
        connection: this.#adder,
        prefix,
        skipVersionCheck: true,
        skipWaitingForReady: true,
      });
      queue.on('error', options.onRedisError);
      this.#queues.set(action, queue);
      const worker = new Worker<Job>(name, (job, token) => this.#work(job, token, options), {
        connection: this.#working,
        prefix,
        // The version is asked for: a worker that does not know it waits in whole seconds.
        concurrency: options.concurrency,
        limiter: { max: options.maxPerSecond, duration: 1_000 },
        lockDuration: options.lockDurationMs,
        stalledInterval: Math.max(500, options.lockDurationMs / 2),
        maxStalledCount: MAX_STALLS,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      });
      worker.on('error', options.onRedisError);
      worker.on('failed', (_job, error) => options.onJobFailure(error));
      this.#workers.push(worker);
    }
  }

  /** True when Redis answers. */
  get ready(): boolean {
    return this.#adder.status === 'ready' && this.#working.status === 'ready';
  }

  /** Why it does not, in words; empty when that is not known. */
  get problem(): string {
    return this.ready ? '' : (this.#lastError?.message ?? '');
  }

  /** Tells when both connections are there, and when one is not any more. */
  #look({ onRedisReady, onRedisLost }: QueueOptions): void {
    const now = this.ready ? 'ready' : 'lost';
    // A connection that is still being made for the first time is no loss.
    const isPending = ({ status }: Redis) => status === 'connecting' || status === 'connect' || status === 'wait';
    if (this.#closing || now === this.#told) return;
    if (now === 'lost' && this.#told === 'nothing' && [this.#adder, this.#working].some(isPending)) return;
    this.#told = now;
    if (now === 'lost') {
      onRedisLost(this.#lastError);
      return;
    }
    this.#lastError = null;
    onRedisReady();
  }

  /** Puts jobs in; those that are there stay as they are. Rejects when Redis does not take them in time. */
  async add(jobs: readonly QueuedJob[]): Promise<void> {
    const byAction = new Map<string, QueuedJob[]>();
    for (const job of jobs) byAction.set(job.job.action, [...(byAction.get(job.job.action) ?? []), job]);
    const chunks = [...byAction].flatMap(([action, all]) => chunked(all).map((some) => [action, some] as const));
    for (const [action, some] of chunks) {
      const queue = this.#queues.get(action) as Queue;
      await queue.addBulk(
        some.map(({ id, delayMs, job }) => ({
          name: job.kind,
          data: job,
          opts: { jobId: id, delay: Math.ceil(delayMs) },
        })),
      );
    }
  }

  /** Takes no new job, waits for those that run, and lets go of Redis, which may be away: it is not waited for then. */
  async close(): Promise<void> {
    this.#closing = true;
    const isAway = !this.ready;
    if (isAway) await Promise.allSettled(this.#underWay);
    await Promise.all(this.#workers.map((worker) => worker.close(isAway)));
    if (!isAway) await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    this.#adder.disconnect();
    this.#working.disconnect();
  }

  #work(job: BullJob<Job>, token: string | undefined, options: QueueOptions): Promise<void> {
    const running = work(job, token, options).finally(() => this.#underWay.delete(running));
    this.#underWay.add(running);
    return running;
  }
}

async function work(job: BullJob<Job>, token: string | undefined, options: QueueOptions): Promise<void> {
  const result = await options.run(job.data);
  if (result.kind === 'done') return;
  const { tries, failingSinceMs } = result;
  if (tries !== job.data.tries || failingSinceMs !== job.data.failingSinceMs) {
    await job.updateData({ ...job.data, tries, failingSinceMs });
  }
  await job.moveToDelayed(Date.now() + Math.ceil(result.delayMs), token);
  throw new DelayedError();
}

function connect({ redis, onRedisError }: QueueOptions, more: RedisOptions): Redis {
  const connection = new Redis({
    ...redis,
    ...more,
    // Workers make connections of their own after this one: it must stand in the options.
    Connector: RedisConnector,
    maxRetriesPerRequest: null,
    socketTimeout: SILENCE_MS,
    retryStrategy: (times) => Math.min(2_000, 50 * 2 ** Math.min(times, 6)),
  });
  connection.on('error', onRedisError);
  return connection;
}

function chunked<T>(items: readonly T[]): T[][] {
  const chunks: T[][] = [];
  for (let at = 0; at < items.length; at += ADD_CHUNK) chunks.push(items.slice(at, at + ADD_CHUNK));
  return chunks;
}
