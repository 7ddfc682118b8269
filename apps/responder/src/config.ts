/**
 * Process configuration of the responder. Response policies are part of the configuration on the
 * bus.
 */
import { BUDGET_GIVE_UP_MS } from '@bailiff/response';
import { busShape, type FrameConfig, kubeShape, optionalText, signersShape, whole } from '@bailiff/service';
import * as z from 'zod';
import { redisOptions } from './scheduling/redis-options.ts';
import type { RunLimits } from './tasks/task-deps.ts';

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
    ...signersShape,
    ...kubeShape,
    redisUrl: redisUrl.default('redis://127.0.0.1:6379').describe('address of Redis: redis://, rediss:// or unix://'),
    redisPasswordFile: optionalText.describe('file with the password of Redis'),
    redisCaFile: optionalText.describe(
      'CA certificates (PEM) for Redis with TLS (rediss://); empty: those of the system',
    ),
    redisCertFile: optionalText.describe('client certificate (PEM), if Redis requires one'),
    redisKeyFile: optionalText.describe('key of the client certificate (PEM)'),
    dryRun: z.boolean().default(false).describe('every response is a dry run, whatever the response policies say'),
    namespace: optionalText.describe(
      "namespace of Bailiff's own pods, which are only observed, whatever the policies say; empty: none",
    ),
    queuePrefix: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/)
      .default('bailiff')
      .describe('prefix of the keys in Redis'),
    concurrency: whole(1, 256).default(8).describe('concurrent tasks per action'),
    maxPerSecond: whole(1, 10_000).default(50).describe('task starts per action and second, over all replicas'),
    lockDurationMs: whole(500, 5 * MINUTE)
      .default(10_000)
      .describe('another worker takes over a job whose worker did not renew its lock for this long'),
    scanIntervalMs: whole(100, 10 * MINUTE)
      .default(MINUTE)
      .describe('interval at which open tasks are added to the queues again'),
    apiTimeoutMs: whole(100, MINUTE).default(5_000).describe('timeout of one request to the API server'),
    takeoverMs: whole(200, 10 * MINUTE)
      .default(15_000)
      .describe('another process takes over a started task that has not ended after this'),
    retryBaseMs: whole(10, MINUTE).default(250).describe('first wait after a failed attempt; doubles each time'),
    retryMaxMs: whole(10, 10 * MINUTE)
      .default(15_000)
      .describe('longest wait between attempts'),
    giveUpAfterMs: whole(0, 1440 * MINUTE)
      .default(10 * MINUTE)
      .describe(
        'a task that fails for this long is recorded as failed; while the API server is away, only after answerHorizonMs',
      ),
    budgetGiveUpAfterMs: whole(0, 1440 * MINUTE)
      .default(BUDGET_GIVE_UP_MS)
      .describe('the same for an eviction that a disruption budget refuses; then the pod is quarantined'),
    maxGraceSeconds: whole(0, 3600)
      .default(30)
      .describe('upper bound of the pod’s own grace period, for an evict or delete whose step has none'),
    answerHorizonMs: whole(1_000, 30 * 1440 * MINUTE)
      .default(1440 * MINUTE)
      .describe('a task that is still not started this long after its due time is refused'),
    approvalTimeoutMs: whole(1_000, 30 * 1440 * MINUTE)
      .default(1440 * MINUTE)
      .describe('time limit of an approval'),
  })
  .refine(({ redisUrl, redisCaFile }) => redisCaFile === '' || redisUrl.startsWith('rediss:'), {
    path: ['redisCaFile'],
    error: 'requires TLS, but redisUrl is not rediss://',
  })
  .refine(({ redisCertFile, redisKeyFile }) => redisCertFile === '' || redisKeyFile !== '', {
    path: ['redisKeyFile'],
    error: 'is missing: redisCertFile needs a key',
  })
  .refine(({ redisCertFile, redisKeyFile }) => redisKeyFile === '' || redisCertFile !== '', {
    path: ['redisCertFile'],
    error: 'is missing: redisKeyFile needs a certificate',
  })
  .refine((config) => config.takeoverMs >= 2 * config.apiTimeoutMs, {
    path: ['takeoverMs'],
    error: 'must be at least twice apiTimeoutMs, so that a task that still runs is not taken over',
  });

export type ResponderConfig = z.output<typeof responderSchema> & FrameConfig;

/**
 * Effects must expire this long before RESPONSES drops their record; a longer expiry is shortened.
 */
const EXPIRY_MARGIN_MS = 3_600_000;
/** Longest expiry of a policy: the bound if RESPONSES has no retention limit. */
const LONGEST_EXPIRY_MS = 30 * 86_400_000;
export function limitsOf(config: ResponderConfig, responsesMaxAgeMs: number): RunLimits {
  return {
    maxOverdueMs: config.answerHorizonMs,
    approvalTimeoutMs: config.approvalTimeoutMs,
    maxGraceSeconds: config.maxGraceSeconds,
    dryRun: config.dryRun,
    ownNamespace: config.namespace,
    apiTimeoutMs: config.apiTimeoutMs,
    takeoverMs: config.takeoverMs,
    longestExpiryMs: responsesMaxAgeMs === 0 ? LONGEST_EXPIRY_MS : Math.max(0, responsesMaxAgeMs - EXPIRY_MARGIN_MS),
    retry: {
      baseMs: config.retryBaseMs,
      maxMs: config.retryMaxMs,
      giveUpAfterMs: config.giveUpAfterMs,
      budgetGiveUpAfterMs: config.budgetGiveUpAfterMs,
      outageGiveUpAfterMs: config.answerHorizonMs,
    },
  };
}
