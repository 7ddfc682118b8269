/**
 * How Redis is reached: from the address and files of the configuration to what the client takes. The files of TLS are read again at each
 * connection, so that renewed ones need no restart; the password is read once, at the start.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { ServiceError } from '@bailiff/service';
import type { RedisOptions } from 'ioredis';

/** PEM, for `rediss://`. */
export interface RedisTls {
  /** Authorities that are believed, in place of the system's. */
  ca?: Buffer;
  /** Who the client is, where the server asks. */
  cert?: Buffer;
  key?: Buffer;
  /** The three as their files have them now; asked at each connection (RedisConnector). */
  renewed?: () => Pick<RedisTls, 'ca' | 'cert' | 'key'>;
}

/** Options from `redis://[user[:password]@]host[:port][/db]`, `rediss://…` (TLS) or `unix:///path[?db=n]`. @throws TypeError */
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
  // A name of the server that is an address is none in TLS; the certificate is held to the address all the same.
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

/** @throws ServiceError SERVICE_CONFIG that names the key whose file cannot be read */
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
