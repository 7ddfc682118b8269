import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { namesIn, readProcess } from './proc.ts';

it('names - only as many as asked for are read; a directory that is gone has none', () => {
  const dir = temporaryDirectory();
  for (let i = 0; i < 2_000; i++) writeFileSync(path.join(dir, `${i}`), '');
  expect([namesIn(dir, 512).length, namesIn(dir, 5_000).length]).toEqual([512, 2_000]);
  rmSync(dir, { recursive: true });
  expect(namesIn(dir, 512)).toEqual([]);
});

it('process with more descriptors than are read', () => {
  const open = Array.from({ length: 600 }, () => openSync('/dev/null', 'r'));
  try {
    expect(readProcess(process.pid, false)).toMatchObject({ pid: process.pid, parentPid: process.ppid });
    expect(namesIn(`/proc/${process.pid}/fd`, 512)).toHaveLength(512);
  } finally {
    for (const fd of open) closeSync(fd);
  }
});
