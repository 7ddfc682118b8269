/**
 * Job queues on BullMQ, used for scheduling only: one queue per action, because a rate limit
 * belongs to a queue, with job ids derived from the tasks. The streams are the source of truth:
 * scans re-add jobs that Redis lost, and the runner checks the streams first, so a duplicate job
 * runs once. Jobs that are due run by their turn (fair-turns.ts), so that no tenant's jobs delay all
 * others.
 *
 * A client with the password of Redis can add jobs: a job names a task that the streams have to prove.
 *
 * A job ends at once or moves to `delayed` with its attempt count. BullMQ's own attempts are
 * unused: a bound kept in Redis would be lost with Redis. Another worker takes over a job after
 * `lockDurationMs`.
 */
import { RESPONSE_ACTIONS } from '@bailiff/policy';
import { type Job as BullJob, DelayedError, Queue, Worker } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import { type Job, type JobResult, jobOf } from '../ports.ts';
import type { QueuedJob } from './backlog.ts';
import { RedisConnector } from './redis-connector.ts';

/** Jobs per command, so that a full backlog does not become one command of megabytes. */
const ADD_CHUNK = 500;
/** Timeout of adding jobs; the next scan adds them again. */
const COMMAND_TIMEOUT_MS = 2_000;
/** A refusal of jobs is reported for this long. The scan, once a minute, adds the jobs again. */
const REFUSAL_MS = 180_000;
/** Interval of a write without a job: otherwise a full Redis would be noticed with the first verdict. */
const PROBE_MS = 30_000;
/**
 * A connection without a due reply for this long is closed and opened again: TCP retries for a
 * quarter of an hour if the Redis host is gone. Above 10 s, for which workers block waiting for a
 * job.
 */
const SILENCE_MS = 12_000;
/**
 * After a failover, the former server is a replica: it refuses every job, and its connections stay. So
 * such a refusal closes the connection, and the next one is opened after this, possibly to another
 * server.
 */
const READ_ONLY_WAIT_MS = 2_000;
/** `maxPerSecond` is per this time. */
const RATE_MS = 1_000;
/** Workers that may die during one job: a crash of the worker is not the job's fault. */
const MAX_STALLS = 1_000;

export interface QueueOptions {
  redis: RedisOptions;
  /** Prefix of all keys. */
  prefix: string;
  /** Concurrent jobs per action in this process. */
  concurrency: number;
  /** Job starts per action and second, over all replicas. */
  maxPerSecond: number;
  /** Another worker takes over a job whose lock was not renewed for this long. */
  lockDurationMs: number;
  run(job: Job): Promise<JobResult>;
  /** A job ended with an unexpected error; the next scan adds it again. */
  onJobFailure(error: Error): void;
  /** A job that no responder added is dropped. */
  onForeignJob(id: string): void;
  onRedisError(error: Error): void;
  /** Redis is connected (again): add the jobs that it may have lost. */
  onRedisReady(): void;
  /**
   * Redis is not reachable, at first or any more. Called once until onRedisReady, with the error if
   * known.
   */
  onRedisLost(error: Error | null): void;
  probeMs?: number | undefined;
}

export const UNREACHABLE = 'Redis is not reachable';

export class Queues {
  readonly #adder: Redis;
  readonly #working: Redis;
  readonly #queues = new Map<string, Queue>();
  readonly #workers: Worker[] = [];
  #reported: 'nothing' | 'ready' | 'lost' = 'nothing';
  readonly #running = new Set<Promise<void>>();
  #closing = false;
  #lastError: Error | null = null;
  /** The newest refusal of jobs: Redis is full, busy with a script, or denies a command. */
  #refusal: { error: Error; atMs: number; isProbe?: true } | null = null;
  readonly #prefix: string;
  readonly #probing: NodeJS.Timeout;

  constructor(options: QueueOptions) {
    const onError = (error: Error) => {
      this.#lastError = error;
    };
    // It connects again and again, and refuses each job: only a write that succeeds ends this.
    const onReadOnly = (error: Error) => {
      onError(error);
      this.#refusal = { error, atMs: performance.now(), isProbe: true };
    };
    // Adding a job fails fast. Workers wait for Redis without a limit.
    this.#adder = connect(options, { enableOfflineQueue: false, commandTimeout: COMMAND_TIMEOUT_MS }, onReadOnly);
    this.#working = connect(options, {}, onReadOnly);
    const reportState = () => this.#reportState(options);
    for (const connection of [this.#adder, this.#working])
      connection.on('ready', reportState).on('close', reportState).on('error', onError);
    const { prefix } = options;
    for (const action of RESPONSE_ACTIONS) {
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
        // The version check stays on: without the version, a worker waits in whole seconds.
        concurrency: options.concurrency,
        limiter: { max: options.maxPerSecond, duration: RATE_MS },
        maximumRateLimitDelay: RATE_MS,
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
    this.#prefix = prefix;
    this.#probing = setInterval(() => void this.#probe(), options.probeMs ?? PROBE_MS);
    this.#probing.unref();
  }

  /** Clears a refusal of its own only: a server may accept this write and deny the scripts of jobs. */
  async #probe(): Promise<void> {
    if (this.#adder.status !== 'ready') return;
    try {
      await this.#adder.set(`${this.#prefix}:probe`, '', 'PX', PROBE_MS);
      for (const { name } of this.#queues.values()) await this.#shortenLimit(`${this.#prefix}:${name}:limiter`);
      if (this.#refusal?.isProbe) this.#refusal = null;
    } catch (error) {
      if (this.#adder.status === 'ready')
        this.#refusal = { error: error as Error, atMs: performance.now(), isProbe: true };
    }
  }

  /**
   * The count of job starts ends by the clock of Redis: if that is set back, the count stays for as long, and then no
   * job of the action starts.
   */
  async #shortenLimit(key: string): Promise<void> {
    if ((await this.#adder.pttl(key)) > RATE_MS) await this.#adder.pexpire(key, RATE_MS);
  }

  /** Whether both connections to Redis are ready. */
  get ready(): boolean {
    return this.#adder.status === 'ready' && this.#working.status === 'ready';
  }

  /** Why it is not ready, with the last connection error; empty if it is. */
  get problem(): string {
    if (this.ready) return '';
    const { message = '' } = this.#lastError ?? {};
    if (message === '') return UNREACHABLE;
    return `${/^(NOAUTH|WRONGPASS)/.test(message) ? 'Redis refuses the login' : UNREACHABLE}: ${message}`;
  }

  /** Reports when both connections are ready, and when one is lost. */
  #reportState({ onRedisReady, onRedisLost }: QueueOptions): void {
    const now = this.ready ? 'ready' : 'lost';
    // A first connection attempt in progress is not a loss.
    const isPending = ({ status }: Redis) => status === 'connecting' || status === 'connect' || status === 'wait';
    if (this.#closing || now === this.#reported) return;
    if (now === 'lost' && this.#reported === 'nothing' && [this.#adder, this.#working].some(isPending)) return;
    this.#reported = now;
    if (now === 'lost') {
      onRedisLost(this.#lastError);
      return;
    }
    this.#lastError = null;
    if (this.#refusal?.isProbe) void this.#probe();
    else this.#refusal = null;
    onRedisReady();
  }

  /** Why Redis refused the newest jobs although it is connected; empty if it did not. */
  get refusal(): string {
    const refusal = this.#refusal;
    return refusal && performance.now() - refusal.atMs <= REFUSAL_MS ? refusal.error.message : '';
  }

  /** Adds jobs; existing ones do not change. Rejects if Redis does not accept them in time. */
  async add(jobs: readonly QueuedJob[]): Promise<void> {
    try {
      await this.#add(jobs);
      this.#refusal = null;
    } catch (error) {
      // Without a connection, nothing was refused: all open tasks are added once it is ready.
      if (this.#adder.status === 'ready') this.#refusal = { error: error as Error, atMs: performance.now() };
      throw error;
    }
  }

  async #add(jobs: readonly QueuedJob[]): Promise<void> {
    for (const [action, some] of chunksByAction(jobs)) {
      const queue = this.#queues.get(action) as Queue;
      await queue.addBulk(
        some.map(({ id, delayMs, turn, job }) => ({
          name: job.kind,
          data: job,
          opts: { jobId: id, delay: Math.ceil(delayMs), priority: turn },
        })),
      );
    }
  }

  /**
   * Stops taking jobs, waits for running ones and disconnects. Does not wait for an unreachable
   * Redis.
   */
  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#probing);
    const isUnreachable = !this.ready;
    if (isUnreachable) await Promise.allSettled(this.#running);
    await Promise.all(this.#workers.map((worker) => worker.close(isUnreachable)));
    if (!isUnreachable) await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    this.#adder.disconnect();
    this.#working.disconnect();
  }

  #work(job: BullJob<Job>, token: string | undefined, options: QueueOptions): Promise<void> {
    const running = work(job, token, options).finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }
}

async function work(job: BullJob<Job>, token: string | undefined, options: QueueOptions): Promise<void> {
  const own = jobOf(job.data);
  if (!own) {
    options.onForeignJob(String(job.id));
    return;
  }
  const result = await options.run(own);
  if (result.kind === 'done') return;
  const { tries, failingSinceMs, turn = job.priority } = result;
  if (tries !== own.tries || failingSinceMs !== own.failingSinceMs) {
    await job.updateData({ ...job.data, tries, failingSinceMs });
  }
  if (turn !== job.priority) await job.changePriority({ priority: turn });
  await job.moveToDelayed(Date.now() + Math.ceil(result.delayMs), token);
  throw new DelayedError();
}

function connect({ redis, onRedisError }: QueueOptions, more: RedisOptions, onReadOnly: (error: Error) => void): Redis {
  let readOnlyMs = Number.NEGATIVE_INFINITY;
  const connection = new Redis({
    ...redis,
    ...more,
    // Workers open further connections with these options, so the connector must be part of them.
    Connector: RedisConnector,
    maxRetriesPerRequest: null,
    socketTimeout: SILENCE_MS,
    reconnectOnError: (error) => {
      if (!error.message.startsWith('READONLY')) return false;
      readOnlyMs = performance.now();
      onReadOnly(error);
      return true;
    },
    retryStrategy: (times) =>
      performance.now() - readOnlyMs < READ_ONLY_WAIT_MS
        ? READ_ONLY_WAIT_MS
        : Math.min(2_000, 50 * 2 ** Math.min(times, 6)),
  });
  connection.on('error', onRedisError);
  return connection;
}

/** Linear: a full backlog has tens of thousands of jobs. */
export function chunksByAction(jobs: readonly QueuedJob[]): (readonly [action: string, jobs: QueuedJob[]])[] {
  const byAction = new Map<string, QueuedJob[]>();
  for (const job of jobs) {
    const { action } = job.job;
    const own = byAction.get(action);
    if (own) own.push(job);
    else byAction.set(action, [job]);
  }
  return [...byAction].flatMap(([action, all]) => chunked(all).map((some) => [action, some] as const));
}

function chunked<T>(items: readonly T[]): T[][] {
  const chunks: T[][] = [];
  for (let at = 0; at < items.length; at += ADD_CHUNK) chunks.push(items.slice(at, at + ADD_CHUNK));
  return chunks;
}
