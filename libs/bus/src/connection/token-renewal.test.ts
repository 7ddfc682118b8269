import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { MAX_SECRETS, SecretFile, secretsIn } from './secret-file.ts';
import { lifeOfToken, renewAtMs } from './token-renewal.ts';

const tokenOf = (claims: unknown) => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;

test('token - its lifetime is parsed, and it is renewed between 85 and 95 % of it', () => {
  const life = lifeOfToken(tokenOf({ iat: 1_000, exp: 4_600 }));
  expect(life).toEqual({ fromMs: 1_000_000, untilMs: 4_600_000 });
  expect(renewAtMs(life ?? { fromMs: 0, untilMs: 0 }, 0)).toBe(1_000_000 + 3_600_000 * 0.85);
  expect(renewAtMs(life ?? { fromMs: 0, untilMs: 0 }, 0.999)).toBeLessThan(1_000_000 + 3_600_000 * 0.95);
});

test.each([
  ...['', 'a', 'a.b.c', tokenOf(null), tokenOf({}), tokenOf({ iat: 2, exp: 1 }), tokenOf({ iat: '1', exp: '2' })],
  // Times that no Date can hold.
  ...[tokenOf({ iat: -1e200, exp: -1e190 }), tokenOf({ iat: 1, exp: 1e13 })],
])('token - %j has no life that can be read', (token) => {
  expect(lifeOfToken(token)).toBeNull();
});

test('secret file - lines are tried in turn, the newest first again after a success; an unreadable file keeps the last content', () => {
  const dir = temporaryDirectory();
  const file = path.join(dir, 'password');
  expect(secretsIn('\n a \r\n\nb\nc\nd\n')).toEqual(['a', 'b', 'c']);
  expect(MAX_SECRETS).toBe(3);
  const unread = {
    code: 'BUS_AUTHENTICATION',
    message: expect.stringContaining(`ENOENT: no such file or directory, open '${file}'`),
  };
  expect(() => new SecretFile(file)).toThrow(expect.objectContaining(unread));
  writeFileSync(file, ' \n');
  expect(() => new SecretFile(file)).toThrow('holds no secret');
  writeFileSync(file, 'new\nold\n');
  const secret = new SecretFile(file);
  expect([secret.next(), secret.next(), secret.next()]).toEqual(['new', 'old', 'new']);
  secret.succeeded();
  expect(secret.next()).toBe('new');
  rmSync(dir, { recursive: true });
  expect(secret.all()).toEqual(['new', 'old']);
});
