// docs/security-baseline.md answers each requirement of the OSPS Baseline once, by files that exist.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const page = readFileSync(path.join(ROOT, 'docs/security-baseline.md'), 'utf8');

/** Version 2026.02.19: numbers of the requirements by family and level. */
const REQUIREMENTS: Readonly<Record<1 | 2 | 3, Readonly<Record<string, string>>>> = {
  1: {
    AC: '01.01 02.01 03.01 03.02',
    BR: '01.01 01.03 03.01 03.02 07.01',
    DO: '01.01 02.01',
    GV: '02.01 03.01',
    LE: '02.01 02.02 03.01 03.02',
    QA: '01.01 01.02 02.01 04.01 05.01 05.02',
    VM: '02.01',
  },
  2: {
    AC: '04.01',
    BR: '02.01 04.01 05.01 06.01',
    DO: '06.01 07.01',
    GV: '01.01 01.02 03.02',
    LE: '01.01',
    QA: '03.01 06.01',
    SA: '01.01 02.01 03.01',
    VM: '01.01 03.01 04.01',
  },
  3: {
    AC: '04.02',
    BR: '01.04 02.02 07.02',
    DO: '03.01 03.02 04.01 05.01',
    GV: '04.01',
    QA: '02.02 04.02 06.02 06.03 07.01',
    SA: '03.02',
    VM: '04.02 05.01 05.02 05.03 06.01 06.02',
  },
};
const wanted = Object.entries(REQUIREMENTS).flatMap(([level, families]) =>
  Object.entries(families).flatMap(([family, numbers]) =>
    numbers.split(' ').map((number) => `OSPS-${family}-${number} ${level}`),
  ),
);
const rows = [...page.matchAll(/^\| (OSPS-\S+) \| (\d) \| (\w+) \| (.+) \|$/gm)].map(
  ([, id = '', level = '', state = '', answer = '']) => ({ id, level, state, answer }),
);

it('each requirement has exactly one row, with its level', () => {
  expect(rows.map(({ id, level }) => `${id} ${level}`).sort()).toEqual(wanted.sort());
  expect(wanted).toHaveLength(64);
});

it('each row has a known state', () => {
  expect(rows.filter(({ state }) => !['met', 'host', 'open'].includes(state))).toEqual([]);
});

it.each(rows.filter(({ state }) => state === 'met'))('$id - is answered by files that exist', ({ answer }) => {
  const files = [...answer.matchAll(/\]\(([^)#\s]+)/g)].map(([, file = '']) => path.join(ROOT, 'docs', file));
  expect(files).not.toEqual([]);
  expect(files.filter((file) => !existsSync(file))).toEqual([]);
});
