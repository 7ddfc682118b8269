/** What an operator sets for the responder as a process. What is answered how is not here but in the response policies on the bus. */
import { busShape, type FrameConfig } from '@bailiff/service';
import * as z from 'zod';
import { redisOptions } from './scheduling/redis-options.ts';
import type { RunLimits } from './tasks/task-deps.ts';

const milliseconds = (min: number, max: number) => z.number().int().min(min).max(max);
const MINUTE = 60_000;

const redisUrl = z.string().refine(
  (text) => {
    try {
      redisOptions(text, null);
      return true;
    } catch {
      return false;
    }
  },
  { error: 'must be redis://host:port, rediss://host:port or unix:///path' },
);

export const responderSchema = z
  .strictObject({
    ...busShape,
    kubeconfig: z
      .string()
      .default('')
      .describe('kubeconfig file; empty: KUBECONFIG, ~/.kube/config or the service account'),
    kubeContext: z.string().default('').describe('context of the kubeconfig; empty: its current one'),
    redisUrl: redisUrl.default('redis://127.0.0.1:6379').describe('the scheduler: redis://, rediss:// or unix://'),
    redisPasswordFile: z.string().default('').describe('file that holds the password of Redis'),
    redisCaFile: z
      .string()
      .default('')
      .describe('CA certificates (PEM) by which a Redis with TLS (rediss://) is known; empty: the system’s'),
    redisCertFile: z.string().default('').describe('client certificate (PEM), for a Redis that asks for one'),
    redisKeyFile: z.string().default('').describe('key of that certificate (PEM)'),
    queuePrefix: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/)
      .default('bailiff')
      .describe('of the keys in Redis'),
    concurrency: z.number().int().min(1).max(256).default(8).describe('tasks of one action at a time'),
    maxPerSecond: z
      .number()
      .int()
      .min(1)
      .max(10_000)
      .default(50)
      .describe('tasks of one action begun a second, over all replicas'),
    lockDurationMs: milliseconds(500, 5 * MINUTE)
      .default(10_000)
      .describe('a job without a sign of life from its worker is given to another after this'),
    scanIntervalMs: milliseconds(100, 10 * MINUTE)
      .default(MINUTE)
      .describe('how often outstanding tasks are put back in the queue'),
    apiTimeoutMs: milliseconds(100, MINUTE).default(5_000).describe('for one request to the API server'),
    takeoverMs: milliseconds(200, 10 * MINUTE)
      .default(15_000)
      .describe('a begun task without an end is taken over after this'),
    retryBaseMs: milliseconds(10, MINUTE).default(250).describe('first wait after a failed try; it doubles'),
    retryMaxMs: milliseconds(10, 10 * MINUTE)
      .default(15_000)
      .describe('longest wait between tries'),
    giveUpAfterMs: milliseconds(0, 1440 * MINUTE)
      .default(10 * MINUTE)
      .describe('a task that fails for this long is recorded as failed'),
    budgetGiveUpAfterMs: milliseconds(0, 1440 * MINUTE)
      .default(10 * MINUTE)
      .describe('the same for an eviction that a disruption budget refuses'),
    maxGraceSeconds: z
      .number()
      .int()
      .min(0)
      .max(3600)
      .default(30)
      .describe(
        'longest grace period of an evict or delete whose step names none: the pod’s own, but no more than this',
      ),
    answerHorizonMs: milliseconds(1_000, 30 * 1440 * MINUTE)
      .default(1440 * MINUTE)
      .describe('a verdict that has been due for longer is refused'),
    approvalTimeoutMs: milliseconds(1_000, 30 * 1440 * MINUTE)
      .default(1440 * MINUTE)
      .describe('a task waits this long for its approval'),
  })
  .refine(({ redisUrl, redisCaFile }) => redisCaFile === '' || redisUrl.startsWith('rediss:'), {
    path: ['redisCaFile'],
    error: 'is for TLS, and redisUrl is not rediss://',
  })
  .refine(({ redisCertFile, redisKeyFile }) => redisCertFile === '' || redisKeyFile !== '', {
    path: ['redisKeyFile'],
    error: 'is missing: redisCertFile has none of its own',
  })
  .refine(({ redisCertFile, redisKeyFile }) => redisKeyFile === '' || redisCertFile !== '', {
    path: ['redisCertFile'],
    error: 'is missing: redisKeyFile is of no use alone',
  })
  .refine((config) => config.takeoverMs >= 2 * config.apiTimeoutMs, {
    path: ['takeoverMs'],
    error: 'must be at least twice apiTimeoutMs, so that whoever is still at it is not taken for dead',
  });

export type ResponderConfig = z.output<typeof responderSchema> & FrameConfig;

/** An effect must end while RESPONSES still knows of it; what is asked for longer is cut to this much less than what the stream keeps. */
const EXPIRY_MARGIN_MS = 3_600_000;
/** Where the stream keeps for ever: the longest expiry that a policy may name. */
const LONGEST_EXPIRY_MS = 30 * 86_400_000;
export function limitsOf(config: ResponderConfig, responsesMaxAgeMs: number): RunLimits {
  return {
    answerHorizonMs: config.answerHorizonMs,
    approvalTimeoutMs: config.approvalTimeoutMs,
    maxGraceSeconds: config.maxGraceSeconds,
    apiTimeoutMs: config.apiTimeoutMs,
    takeoverMs: config.takeoverMs,
    longestExpiryMs: responsesMaxAgeMs === 0 ? LONGEST_EXPIRY_MS : Math.max(0, responsesMaxAgeMs - EXPIRY_MARGIN_MS),
    retry: {
      baseMs: config.retryBaseMs,
      maxMs: config.retryMaxMs,
      giveUpAfterMs: config.giveUpAfterMs,
      budgetGiveUpAfterMs: config.budgetGiveUpAfterMs,
    },
  };
}
