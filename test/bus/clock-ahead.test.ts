// The clock of `scripts/test --ahead`: programs of each kind that tests start have it. nats-server
// stamps messages, and decides about ages and logins.

import { execFileSync } from 'node:child_process';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { chooseClock, DAY_S } from '../../tools/clock/ahead.ts';
import { launch } from '../support/process.ts';

const DAYS = 40;
const TOLERANCE_S = 3_600;

const directory = temporaryDirectory();

/** The environment of a run that is so many days ahead. This run may be ahead itself. */
function environmentOf(days: number): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { PATH: process.env['PATH'], TZ: 'UTC' };
  if (days > 0) env['BAILIFF_AHEAD'] = String(days);
  chooseClock(env);
  return env;
}
const [present, ahead] = [environmentOf(0), environmentOf(DAYS)];
const run = (env: NodeJS.ProcessEnv, command: string, ...args: string[]) =>
  execFileSync(command, args, { encoding: 'utf8', env, cwd: directory });
const node = (env: NodeJS.ProcessEnv, value: string) =>
  Number(run(env, process.execPath, '-p', `const fs = require('node:fs'); ${value}`));

/** The time of the first line of its log. */
async function serverS(env: NodeJS.ProcessEnv): Promise<number> {
  await using server = launch('nats-server', ['--addr', '127.0.0.1', '--port', '-1'], { env });
  await server.printed('Starting nats-server');
  const [, time = ''] = /^\[\d+\] (\S+ \S+) /.exec(server.stderr()) ?? [];
  return Date.parse(`${time.replaceAll('/', '-')}Z`) / 1000;
}

it.each<[string, (env: NodeJS.ProcessEnv) => number | Promise<number>]>([
  ['a program of libc', (env) => Number(run(env, 'date', '+%s'))],
  ['Node.js', (env) => node(env, 'Date.now() / 1000')],
  ['a file that Node.js writes', (env) => node(env, `fs.writeFileSync('a', ''); fs.statSync('a').mtimeMs / 1000`)],
  [
    'a file whose time Node.js sets',
    (env) =>
      node(env, `fs.writeFileSync('b', ''); fs.utimesSync('b', 0, Date.now() / 1000); fs.statSync('b').mtimeMs / 1000`),
  ],
  ['nats-server', serverS],
])('%s - is moved', async (_, secondsOf) => {
  const moved = (await secondsOf(ahead)) - (await secondsOf(present));
  expect(Math.abs(moved - DAYS * DAY_S)).toBeLessThan(TOLERANCE_S);
});

it.each<[string, (env: NodeJS.ProcessEnv) => number]>([
  ['the monotonic clock', (env) => node(env, 'Number(process.hrtime.bigint()) / 1e9')],
  [
    'a file with a time that was set, for other programs',
    (env) => {
      node(env, `fs.writeFileSync('c', ''); fs.utimesSync('c', 0, Date.now() / 1000)`);
      return Number(run(present, 'stat', '--format', '%Y', 'c'));
    },
  ],
])('%s - is not moved', (_, secondsOf) => {
  expect(Math.abs(secondsOf(ahead) - secondsOf(present))).toBeLessThan(TOLERANCE_S);
});
