// `scripts/test --ahead DAYS`: how it reads its arguments, and what it passes on.

import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, it } from 'vitest';
import { daysAhead } from './ahead.ts';

/** A checkout in which every other program prints how it was called. */
const checkout = temporaryDirectory();
beforeAll(() => {
  const put = (file: string, text: string) => {
    mkdirSync(path.dirname(path.join(checkout, file)), { recursive: true });
    writeFileSync(path.join(checkout, file), text);
    chmodSync(path.join(checkout, file), 0o755);
  };
  put('scripts/setup', '#!/bin/sh\n');
  for (const name of ['npx', 'npm']) put(`bin/${name}`, `#!/bin/sh\necho "<$BAILIFF_AHEAD> ${name} $*"\n`);
  copyFileSync(path.resolve(import.meta.dirname, '../../scripts/test'), path.join(checkout, 'scripts/test'));
});

const run = (...words: string[]) =>
  spawnSync(path.join(checkout, 'scripts/test'), words, {
    encoding: 'utf8',
    env: { PATH: `${path.join(checkout, 'bin')}:${process.env['PATH']}` },
  });

it.each([
  [['--ahead', '400', '--', '--project', 'unit'], '<400> npx vitest run --project unit'],
  [['--ahead', '1', '--project', 'unit'], '<1> npx vitest run --project unit'],
  [['--ahead', '9999'], '<9999> npx vitest run'],
  [['--project', 'unit'], '<> npx vitest run --project unit'],
])('test %j', (words, last) => {
  expect(run(...words)).toMatchObject({ status: 0, stdout: `${last}\n` });
});

it.each([
  [['--ahead']],
  [['--ahead', '']],
  [['--ahead', '0']],
  [['--ahead', '-1']],
  [['--ahead', '1.5']],
  [['--ahead', '10000']],
  [['--ahead', '40d']],
  [['--ahead', '4 0']],
  [['--ahead=40']],
  [['--ahead', '--project', 'unit']],
])('test %j - is refused before anything runs', (words) => {
  expect(run(...words)).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching(/^test: --ahead.*: give 1 to 9999 days, for example: scripts\/test --ahead 400/),
  });
});

it('days of the variable', () => {
  expect([undefined, '', '1', '9999'].map((given) => daysAhead({ BAILIFF_AHEAD: given }))).toEqual([0, 0, 1, 9999]);
  for (const given of ['0', '01', '-1', '1.5', '10000', 'x'])
    expect(() => daysAhead({ BAILIFF_AHEAD: given })).toThrow(`BAILIFF_AHEAD=${given}: give 1 to 9999 days`);
});
