import { describe, expect, it } from 'vitest';
import { responderSchema } from '../config.ts';
import { redisOf, redisOptions } from './redis-options.ts';

describe('Redis', () => {
  it.each<[string, string | null, object]>([
    ['redis://127.0.0.1:6380', null, { host: '127.0.0.1', port: 6380, db: 0 }],
    ['redis://redis.bailiff-system', null, { host: 'redis.bailiff-system', port: 6379, db: 0 }],
    ['redis://user:p%40ss@h:1/3', null, { host: 'h', port: 1, db: 3, username: 'user', password: 'p@ss' }],
    ['redis://h', 'from-file', { host: 'h', password: 'from-file' }],
    ['redis://[::1]:7', null, { host: '::1', port: 7 }],
    ['rediss://h', null, { tls: { servername: 'h' } }],
    ['rediss://10.0.0.1', null, { host: '10.0.0.1', tls: {} }],
    ['unix:///run/redis.sock', null, { path: '/run/redis.sock', db: 0 }],
    ['unix:///run/redis.sock?db=2', null, { path: '/run/redis.sock', db: 2 }],
  ])('redisOptions - %s', (url, password, expected) => {
    expect(redisOptions(url, password)).toMatchObject(expected);
  });

  it.each(['', 'h:6379', 'http://h'])('redisOptions - refuses "%s"', (url) => {
    expect(() => redisOptions(url, null)).toThrow(TypeError);
  });

  it('redisOf - the error names the configuration key of an unreadable file', () => {
    const files = { redisPasswordFile: '', redisCaFile: '', redisCertFile: '', redisKeyFile: '' };
    expect(() => redisOf({ redisUrl: 'rediss://h', ...files, redisCaFile: '/proc/nonexistent/ca' })).toThrow(
      /^redisCaFile: .*\/proc\/nonexistent\/ca/,
    );
    expect(redisOf({ redisUrl: 'rediss://10.0.0.1', ...files }).tls).toEqual({});
  });

  it.each<[string, object, string]>([
    ['TLS files without rediss://', { redisUrl: 'redis://h', redisCaFile: '/ca' }, 'redisCaFile'],
    ['a certificate without its key', { redisUrl: 'rediss://h', redisCertFile: '/cert' }, 'redisKeyFile'],
    ['a key without its certificate', { redisUrl: 'rediss://h', redisKeyFile: '/key' }, 'redisCertFile'],
  ])('configuration - %s', (_, config, field) => {
    expect(responderSchema.safeParse(config).error?.issues.map(({ path }) => path)).toEqual([[field]]);
  });

  it('configuration - all options together are valid', () => {
    const files = { redisCaFile: '/ca', redisCertFile: '/cert', redisKeyFile: '/key' };
    expect(responderSchema.safeParse({ redisUrl: 'rediss://h', ...files }).success).toBe(true);
  });
});
