/** Redis under `bailiff doctor`: the responder's scheduler. */
import { readFileSync } from 'node:fs';
import { EXIT } from '@bailiff/service';
import { type Finding, fail, type Group, ok, skip, warn } from './finding.ts';

const TIMEOUT_MS = 3_000;

/** What INFO says. Pure. */
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
      warn(
        'maxmemory-policy',
        `${policy} throws scheduled responses away when memory is short`,
        'set maxmemory-policy noeviction',
      ),
    );
  }
  return findings;
}

/** Where it is and what it takes to get in. */
export interface RedisAccess {
  redisUrl?: string | undefined;
  redisPasswordFile?: string | undefined;
  redisCaFile?: string | undefined;
}

async function ask(url: string, { redisPasswordFile: passwordFile, redisCaFile }: RedisAccess): Promise<Finding[]> {
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
  // An error that nobody listens to would end the process; each one is in the rejection below as well.
  let last: Error | null = null;
  redis.on('error', (error: Error) => {
    last = error;
  });
  try {
    await redis.connect();
    return [ok('reachable'), ...infoFindings(await redis.info())];
  } catch (error) {
    const { message } = (last ?? error) as Error;
    const remedy = /NOAUTH|WRONGPASS/.test(message)
      ? '--redis-password-file'
      : /certificate|self[- ]signed/i.test(message)
        ? '--redis-ca-file: who signed its certificate'
        : 'is it running there?';
    return [fail('reachable', message, remedy, EXIT.dependencyUnreachable)];
  } finally {
    redis.disconnect();
  }
}

export async function redisGroup(access: RedisAccess): Promise<Group> {
  const { redisUrl: url } = access;
  if (!url)
    return { title: 'Redis', findings: [skip('not looked at', 'no --redis-url', '--redis-url redis://host:6379')] };
  const title = `Redis (${url.replace(/\/\/[^@/]*@/, '//')})`;
  if (!/^(rediss?|unix):\/\//.test(url)) {
    return {
      title,
      findings: [
        fail('url', 'not a Redis URL', 'redis://host:port, rediss://host:port or unix:///path', EXIT.badFlags),
      ],
    };
  }
  return { title, findings: await ask(url, access) };
}
