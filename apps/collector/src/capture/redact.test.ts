import { expect, test } from 'vitest';
import { redact } from './redact.ts';

test.each([
  [
    ['mysql', '--password=hunter2', '-u', 'root'],
    ['mysql', '--password=***', '-u', 'root'],
  ],
  [
    ['app', '--db-password', 'hunter2', '--verbose'],
    ['app', '--db-password', '***', '--verbose'],
  ],
  [
    ['app', '--token', '--next'],
    ['app', '--token', '--next'],
  ],
  [
    ['curl', 'https://me:hunter2@example.com/x'],
    ['curl', 'https://***@example.com/x'],
  ],
  [
    ['curl', '-H', 'Authorization: Bearer abc.def'],
    ['curl', '-H', 'Authorization: ***'],
  ],
  [
    ['sh', '-c', 'AWS_SECRET_ACCESS_KEY=abc aws s3 ls; echo done'],
    ['sh', '-c', 'AWS_SECRET_ACCESS_KEY=*** aws s3 ls; echo done'],
  ],
  [
    ['env', 'API_KEY="a b"', 'HOME=/root'],
    ['env', 'API_KEY=***', 'HOME=/root'],
  ],
])('redact - %j', (args, redacted) => {
  expect(redact(args)).toEqual(redacted);
});

test.each([
  [['sleep', '600']],
  [['nc', '-l', '-p', '4444', '-e', '/bin/sh']],
  [['python3', '-c', 'import os; os.system("id")']],
  [['wget', 'http://10.0.0.1:8000/passes/list']],
  [['ls', '/etc/passwd']],
])('redact - %j stays as it is', (args) => {
  expect(redact(args)).toEqual(args);
});

test.each(['pwd', 'authpwd', 'auth-', 'api_key.'])(
  'redact - arguments of 2 KiB that repeat %j, of all processes',
  (name) => {
    const long = name.repeat(2_047 / name.length);
    const many = Array.from({ length: 512 }, () => long);
    // With a pattern that takes cubic time, one of them takes a second.
    expect(redact(many)).toEqual(many);
    expect(redact([`${long}=hunter2`, 'x'])).toEqual([`${long}=***`, 'x']);
  },
);
