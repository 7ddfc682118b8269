/**
 * Client options for Redis from the configured address and files. TLS files are read again for each
 * connection, so that renewed certificates need no restart. The password file is read once at
 * start.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { ServiceError } from '@bailiff/service';
import type { RedisOptions } from 'ioredis';

/** PEM, for `rediss://`. */
export interface RedisTls {
  /** Trusted authorities, instead of the system's. */
  ca?: Buffer;
  /** Client certificate, if the server requires one. */
  cert?: Buffer;
  key?: Buffer;
  /** Reads the three files again; called for each connection (RedisConnector). */
  renewed?: () => Pick<RedisTls, 'ca' | 'cert' | 'key'>;
}

/**
 * Options from `redis://[user[:password]@]host[:port][/db]`, `rediss://…` (TLS) or
 * `unix:///path[?db=n]`.
 * @throws TypeError
 */
export function redisOptions(url: string, password: string | null, tls: RedisTls = {}): RedisOptions {
  const parsed = new URL(url);
  const secret = password ?? (parsed.password === '' ? null : decodeURIComponent(parsed.password));
  const base: RedisOptions = {
    ...(parsed.username === '' ? {} : { username: decodeURIComponent(parsed.username) }),
    ...(secret === null ? {} : { password: secret }),
  };
  if (parsed.protocol === 'unix:')
    return { ...base, path: parsed.pathname, db: Number(parsed.searchParams.get('db') ?? 0) };
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw new TypeError(`"${url}" is not a redis://, rediss:// or unix:// address`);
  }
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  const address = { host, port: Number(parsed.port || 6379), db: Number(parsed.pathname.slice(1) || 0) };
  // TLS does not allow an IP address as server name. The certificate is still verified for the
  // address.
  const named = isIP(host) === 0 ? { servername: host } : {};
  return { ...base, ...address, ...(parsed.protocol === 'rediss:' ? { tls: { ...named, ...tls } } : {}) };
}

export interface RedisConfig {
  redisUrl: string;
  redisPasswordFile: string;
  redisCaFile: string;
  redisCertFile: string;
  redisKeyFile: string;
}

/** @throws ServiceError SERVICE_CONFIG with the configuration key of an unreadable file */
export function redisOf(config: RedisConfig): RedisOptions {
  const read = (key: Exclude<keyof RedisConfig, 'redisUrl'>): Buffer | null => {
    const file = config[key];
    if (file === '') return null;
    try {
      return readFileSync(file);
    } catch (cause) {
      const message = `${key}: ${(cause as Error).message}`;
      throw new ServiceError('SERVICE_CONFIG', message, { cause, fields: [key] });
    }
  };
  const files = (): RedisTls => {
    const [ca, cert, key] = [read('redisCaFile'), read('redisCertFile'), read('redisKeyFile')];
    return { ...(ca ? { ca } : {}), ...(cert && key ? { cert, key } : {}) };
  };
  const first = files();
  const tls = Object.keys(first).length === 0 ? {} : { ...first, renewed: files };
  return redisOptions(config.redisUrl, read('redisPasswordFile')?.toString('utf8').trim() ?? null, tls);
}
