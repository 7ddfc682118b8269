/** Checks of the responder's Redis. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { EXIT } from '@bailiff/service';
import { onAbort } from '@bailiff/service/retry';
import type { Redis } from 'ioredis';
import type { CliIo } from '../../shared/io.ts';
import { type Finding, fail, type Group, notChecked, ok, warn } from './finding.ts';

const TIMEOUT_MS = 3_000;

/** Evaluates the output of INFO. Pure. */
export function infoFindings(info: string): Finding[] {
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  const version = field('valkey_version') || field('redis_version');
  const findings = [
    Number.parseFloat(version) >= 6.2
      ? ok('server', version)
      : fail(
          'server',
          `${version || 'unknown'} is too old`,
          'Redis 6.2 or later, or Valkey',
          EXIT.dependencyUnreachable,
        ),
  ];
  const policy = field('maxmemory_policy');
  if (policy !== '' && policy !== 'noeviction') {
    findings.push(
      warn('maxmemory-policy', `${policy} can evict scheduled responses`, 'set maxmemory-policy noeviction'),
    );
  }
  return findings;
}

/** Why a connected server executes no job; null if it does. A write is the only proof. */
async function writeFinding(redis: Redis): Promise<Finding> {
  try {
    await redis.set(`bailiff:doctor:${randomUUID()}`, '', 'PX', TIMEOUT_MS);
    return ok('accepts jobs');
  } catch (error) {
    const { message } = error as Error;
    return fail(
      'accepts jobs',
      message,
      REFUSALS[/^[A-Z]+/.exec(message)?.[0] ?? ''] ?? '',
      EXIT.dependencyUnreachable,
    );
  }
}

const REFUSALS: Readonly<Record<string, string>> = {
  READONLY: 'this is a replica: pass the address of the primary',
  OOM: 'it is full: raise maxmemory, or remove the keys of others',
  MISCONF: 'it cannot write to its disk: see its log',
};

/** Address and credentials. */
export interface RedisAccess {
  redisUrl?: string | undefined;
  redisPasswordFile?: string | undefined;
  redisCaFile?: string | undefined;
}

async function checkServer(
  { signal }: Pick<CliIo, 'signal'>,
  url: string,
  { redisPasswordFile: passwordFile, redisCaFile }: RedisAccess,
): Promise<Finding[]> {
  const { Redis } = await import('ioredis');
  const redis = new Redis(url, {
    lazyConnect: true,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    ...(redisCaFile ? { tls: { ca: readFileSync(redisCaFile) } } : {}),
    ...(passwordFile ? { password: readFileSync(passwordFile, 'utf8').trim() } : {}),
  });
  // An unhandled error event would end the process. The rejection below reports the error.
  let lastError: Error | null = null;
  redis.on('error', (error: Error) => {
    lastError = error;
  });
  const forget = onAbort(signal, () => redis.disconnect());
  try {
    await redis.connect();
    return [ok('reachable'), ...infoFindings(await redis.info()), await writeFinding(redis)];
  } catch (error) {
    signal.throwIfAborted();
    const { message } = (lastError ?? error) as Error;
    const remedy = /NOAUTH|WRONGPASS/.test(message)
      ? 'pass --redis-password-file'
      : /certificate|self[- ]signed/i.test(message)
        ? 'pass --redis-ca-file with the CA of its certificate'
        : 'check that Redis runs at this address';
    return [fail('reachable', message, remedy, EXIT.dependencyUnreachable)];
  } finally {
    forget();
    redis.disconnect();
  }
}

export async function redisGroup(io: Pick<CliIo, 'signal'>, access: RedisAccess): Promise<Group> {
  const { redisUrl: url } = access;
  if (!url) return { title: 'Redis', findings: [notChecked('no --redis-url', 'pass --redis-url redis://host:6379')] };
  const title = `Redis (${url.replace(/\/\/[^@/]*@/, '//')})`;
  if (!/^(rediss?|unix):\/\//.test(url)) {
    return {
      title,
      findings: [
        fail('url', 'not a Redis URL', 'redis://host:port, rediss://host:port or unix:///path', EXIT.badFlags),
      ],
    };
  }
  return { title, findings: await checkServer(io, url, access) };
}
