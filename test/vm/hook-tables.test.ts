// The tables of system calls and of ways to start a program are complete. Each system call and
// io_uring operation in the kernel's headers has one row, no cell is empty, and each test in a row
// exists. Runs no machine.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { JUDGED_CALLS, SYSTEM_CALLS } from '../lsm/system-calls.ts';
import { repoRoot } from './kernels.ts';
import { ADDED_AFTER_6_12, CALLS_OF_X86_64_6_12, OPERATIONS_6_12 } from './syscalls.ts';

interface Row {
  readonly cells: readonly string[];
  readonly tests: readonly string[];
}

/** Rows of the tables of docs/runtime-hooks.md below a heading of the second level; the last column names tests. */
function rowsUnder(heading: string): Row[] {
  const doc = readFileSync(path.join(repoRoot, 'docs/runtime-hooks.md'), 'utf8');
  const section = doc.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? '';
  const lines = section.split('\n');
  // The head of a table is the line above its rule.
  const rows = lines.filter((line, at) => line.startsWith('| ') && !lines[at + 1]?.startsWith('|--'));
  return rows.map((line) => {
    const cells = line.split('|').slice(1, -1);
    return { cells: cells.map((cell) => cell.trim()), tests: (cells.at(-1) ?? '').trim().split('; ') };
  });
}

const calls = SYSTEM_CALLS.map((row) => ({ cells: [row.calls.join(), row.how, row.tests.join()], tests: row.tests }));
const ways = rowsUnder('Ways to start a program');

/** Names with a prefix in a header of this machine; null if the header is missing. */
function inHeader(files: readonly string[], pattern: RegExp): string[] | null {
  const file = files.find((name) => existsSync(name));
  if (file === undefined) return null;
  return [...readFileSync(file, 'utf8').matchAll(pattern)].map(([, name = '']) => name);
}

const INCLUDE = '/usr/include';
const HEADERS = [
  {
    name: 'asm/unistd_64.h',
    files: [`${INCLUDE}/x86_64-linux-gnu/asm/unistd_64.h`],
    pattern: /^#define __NR_(\w+)/gm,
  },
  { name: 'linux/io_uring.h', files: [`${INCLUDE}/linux/io_uring.h`], pattern: /^\t(IORING_OP_(?!LAST)\w+)/gm },
];

describe('system calls', () => {
  const named = SYSTEM_CALLS.flatMap((row) => row.calls);

  test('each call of Linux 6.12 and of the newest kernel has one row, and there are no other rows', () => {
    const known = [...CALLS_OF_X86_64_6_12, ...OPERATIONS_6_12, ...ADDED_AFTER_6_12];
    expect(named.toSorted()).toEqual(known.toSorted());
  });

  test.for(HEADERS)('each name of this machine’s $name has a row', ({ name, files, pattern }, context) => {
    const found = inHeader(files, pattern);
    if (found === null) context.skip(`optional: this machine has no ${name} of x86-64`);
    expect(found?.length).toBeGreaterThan(50);
    expect(found?.filter((one) => !named.includes(one))).toEqual([]);
  });

  test('every decision of a hook has a test', () => {
    expect(JUDGED_CALLS.length).toBeGreaterThan(30);
    expect(JUDGED_CALLS.filter(({ tests }) => tests.some((one) => one.startsWith('no test')))).toEqual([]);
  });
});

/** Names of tests that do not exist, and missing reasons. */
const missingTests = (rows: readonly Row[]): string[] =>
  rows
    .flatMap(({ tests }) => tests)
    .filter((one) => {
      const [, file = '', words = ''] = /^`(\S+\.test\.ts) › (.+)`(?: \(.+\))?$/.exec(one) ?? [];
      if (file === '') return !/^no test: \w/.test(one);
      const text = readFileSync(path.join(repoRoot, 'test/lsm', file), 'utf8').replaceAll(/\s+/g, ' ');
      return !text.includes(words);
    });

describe.each([
  ['system calls', calls, 60],
  ['ways to start a program', ways, 25],
])('%s', (_name, rows, atLeast) => {
  test('no cell is empty', () => {
    expect(rows.length).toBeGreaterThan(atLeast);
    expect(rows.filter(({ cells }) => cells.length !== 3 || cells.some((cell) => /^[-–—]?$/.test(cell)))).toEqual([]);
  });

  test('each named test exists; a row without one gives the reason', () => {
    expect(missingTests(rows)).toEqual([]);
  });
});
