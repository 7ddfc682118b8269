import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { kernelSymbols } from './kernel-symbols.ts';

const dir = temporaryDirectory();

function fileOf(lines: readonly string[]): string {
  const file = path.join(dir, 'kallsyms');
  writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  return file;
}

/** More than one piece, with a length that no piece is a multiple of. */
const FILLER = Array.from(
  { length: 5000 },
  (_, i) => `ffffffff81${i.toString(16).padStart(6, '0')} t some_function_${i}`,
);

it.each([
  ['at the start', 0],
  ['in the middle', 2345],
  ['at the end', 5000],
])('symbols - finds a symbol %s of a file of several pieces', (_, at) => {
  const file = fileOf([...FILLER.slice(0, at), 'ffffffff82a0c0c0 D rename_lock', ...FILLER.slice(at)]);
  expect(kernelSymbols(['rename_lock'], file)).toEqual(new Map([['rename_lock', 0xffffffff82a0c0c0n]]));
});

it('symbols - the global one, whatever other files of the kernel have under its name', () => {
  const [before, after] = ['ffffffff82a0c0c1 d mount_lock', 'ffffffff82a0c0c2 b mount_lock'];
  const file = fileOf([before, 'ffffffff82a0c0c0 D mount_lock', after, ...FILLER, after]);
  expect(kernelSymbols(['mount_lock', 'absent'], file)).toEqual(new Map([['mount_lock', 0xffffffff82a0c0c0n]]));
  expect(kernelSymbols(['mount_lock'], fileOf([before, after]))).toEqual(new Map());
});

it('symbols - no part of a name, no symbol of a module, and zero where the kernel hides addresses', () => {
  const file = fileOf([
    'ffffffff82a0c0c1 D my_rename_lock',
    'ffffffff82a0c0c2 D rename_lock_2',
    'ffffffffc0a0c0c3 d rename_lock\t[module]',
    '0000000000000000 D mount_lock',
  ]);
  expect(kernelSymbols(['rename_lock', 'mount_lock'], file)).toEqual(new Map([['mount_lock', 0n]]));
});
