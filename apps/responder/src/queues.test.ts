import { describe, expect, it } from 'vitest';
import { redisOptions } from './queues.ts';

describe('queues', () => {
  it.each<[string, string | null, object]>([
    ['redis://127.0.0.1:6380', null, { host: '127.0.0.1', port: 6380, db: 0 }],
    ['redis://redis.bailiff-system', null, { host: 'redis.bailiff-system', port: 6379, db: 0 }],
    ['redis://user:p%40ss@h:1/3', null, { host: 'h', port: 1, db: 3, username: 'user', password: 'p@ss' }],
    ['redis://h', 'from-file', { host: 'h', password: 'from-file' }],
    ['redis://[::1]:7', null, { host: '::1', port: 7 }],
    ['rediss://h', null, { tls: { servername: 'h' } }],
    ['unix:///run/redis.sock', null, { path: '/run/redis.sock', db: 0 }],
    ['unix:///run/redis.sock?db=2', null, { path: '/run/redis.sock', db: 2 }],
  ])('redisOptions - %s', (url, password, expected) => {
    expect(redisOptions(url, password)).toMatchObject(expected);
  });

  it.each(['', 'h:6379', 'http://h'])('redisOptions - refuses "%s"', (url) => {
    expect(() => redisOptions(url, null)).toThrow(TypeError);
  });
});
