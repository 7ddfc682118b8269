// Every hook with a program has a test that shows it denying and one that shows it allowing. Runs
// no machine.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { HOOK_TESTS } from '../lsm/hooks.ts';
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
  const doc = readFileSync(path.join(repoRoot, 'docs/runtime-hooks.md'), 'utf8');
  const [, section = ''] = /## Hooks without a program\n([^#]*)/.exec(doc) ?? [];
  const rows = section.split('\n').filter((line) => /^\| [a-z]/.test(line) && !line.startsWith('| hook'));
  const named = rows.flatMap((line) => line.split('|')[1]?.split(',') ?? []).map((name) => name.trim());
  expect(named).toEqual(expect.arrayContaining(['bprm_creds_from_file', 'fs_context_parse_param']));
  expect(named.filter((name) => sections.includes(name))).toEqual([]);
});

test.each(Object.entries(HOOK_TESTS))('hooks - %s: denying and allowing are tested', (_hook, row) => {
  const text = readFileSync(path.join(repoRoot, 'test/lsm', row.file), 'utf8').replaceAll(/\s+/g, ' ');
  expect([row.denies, row.allows].filter((words) => !text.includes(words))).toEqual([]);
});
