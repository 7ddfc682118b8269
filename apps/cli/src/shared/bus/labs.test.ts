import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, expect, it } from 'vitest';
import { runningLabs } from './labs.ts';

let dir = '';
beforeEach(() => {
  dir = temporaryDirectory();
});

const ticks = () => {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] as string;
};
const info = {
  natsUrl: 'nats://127.0.0.1:1',
  redisUrl: 'redis://127.0.0.1:2',
  kubeconfig: '/k',
  credentials: { cli: { user: 'cli', passwordFile: '/p' }, admin: { user: 'admin', passwordFile: '/a' } },
  pods: [],
};

function put(id: string, state: unknown): void {
  mkdirSync(path.join(dir, id));
  writeFileSync(path.join(dir, id, 'state.json'), typeof state === 'string' ? state : JSON.stringify(state));
}

it('labs - only those that are ready and whose supervisor lives', () => {
  const alive = { id: 'alive', pid: process.pid, startTicks: ticks(), phase: 'ready', info };
  put('alive', alive);
  put('starting', { ...alive, id: 'starting', info: null });
  put('dead', { ...alive, id: 'dead', startTicks: '1' });
  put('gone', { ...alive, id: 'gone', pid: 2 ** 22 + 1 });
  put('broken', '{');
  put('other', { hello: 1 });
  mkdirSync(path.join(dir, 'empty'));
  expect(runningLabs(dir)).toEqual([
    {
      id: 'alive',
      natsUrl: info.natsUrl,
      kubeconfig: '/k',
      redisUrl: info.redisUrl,
      user: 'cli',
      passwordFile: '/p',
    },
  ]);
});

it('labs - none where there is no directory', () => {
  expect(runningLabs(path.join(dir, 'nowhere'))).toEqual([]);
});
