// Whose replies the programs read in the network namespace of a pod: a process of the pod can send to their sockets.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const isRoot = process.getuid?.() === 0;

describe('replies of netlink', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-forged-'));
  const program = path.join(dir, 'forged');
  const run = (file: string, args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' });
    return [status, stdout, stderr];
  };
  beforeEach((context) => context.skip(!isRoot, 'needs root'));
  beforeAll(() => {
    const sources = ['forged.c', '../src/netns.c'].map((name) => path.join(import.meta.dirname, name));
    const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-O1'];
    expect(run('gcc', [...flags, '-o', program, ...sources])).toEqual([0, '', '']);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it.each([
    ['link', 'peer 0\n'],
    ['left', 'stays\n'],
  ])('%s - those of another process are not read', (what, stdout) => {
    expect(run('unshare', ['--net', program, what])).toEqual([0, stdout, '']);
  });
});
