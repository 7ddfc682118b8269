// Every hook with a program has a test that shows it denying and one that shows it allowing. Runs
// no machine.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { HOOK_TESTS, HOOKS_WITHOUT_PROGRAM } from '../lsm/hooks.ts';
import { repoRoot } from './kernels.ts';

const dir = path.join(repoRoot, 'libs/bpf/bpf/runtime');
const sections = readdirSync(dir).flatMap((file) =>
  [...readFileSync(path.join(dir, file), 'utf8').matchAll(/^SEC\("(?:lsm|tp_btf)\/(\w+)"\)/gm)].map(([, hook]) => hook),
);

test('hooks - each program has its row, and each row its program', () => {
  expect(Object.keys(HOOK_TESTS).sort()).toEqual(sections.sort());
});

test('hooks - docs/runtime-hooks.md names each', () => {
  const doc = readFileSync(path.join(repoRoot, 'docs/runtime-hooks.md'), 'utf8');
  const named = doc.split('\n').filter((line) => line.startsWith('| '));
  expect(Object.keys(HOOK_TESTS).filter((hook) => !named.some((line) => line.split('|')[1]?.includes(hook)))).toEqual(
    [],
  );
});

test('hooks - those documented as without a program have none', () => {
  const named = HOOKS_WITHOUT_PROGRAM.flatMap(([hooks]) => hooks.split(', '));
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => sections.includes(name))).toEqual([]);
});

test.each(Object.entries(HOOK_TESTS))('hooks - %s: denying and allowing are tested', (_hook, row) => {
  const text = readFileSync(path.join(repoRoot, 'test/lsm', row.file), 'utf8').replaceAll(/\s+/g, ' ');
  expect([row.denies, row.allows].filter((words) => !text.includes(words))).toEqual([]);
});
