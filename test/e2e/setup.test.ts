// scripts/setup refuses a Node.js that is too old, by major and minor version, before it installs anything.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CHECKOUT } from '@bailiff/lab';
import { expect, it } from 'vitest';

/** Runs the script in a checkout of its own with a `node` of that version first on the PATH, and with programs that install nothing. */
function setUpWith(version: string): { status: number | null; stderr: string } {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-setup-'));
  const put = (file: string, text: string) => {
    mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    writeFileSync(path.join(dir, file), text, { mode: 0o755 });
  };
  try {
    put('scripts/setup', readFileSync(path.join(CHECKOUT, 'scripts/setup'), 'utf8'));
    // What the script compares with what it did last is the same: nothing is to be fetched.
    const done = [
      'package-lock.json',
      'node_modules/.bailiff-lock',
      'test/vm/kernels.json',
      '.cache/kernels/list.json',
    ];
    for (const file of done) put(file, '{}');
    put('bin/node', `#!/bin/sh\necho ${version}\n`);
    for (const installer of ['npm', 'apt-get']) put(`bin/${installer}`, '#!/bin/sh\nexit 1\n');
    const env = { ...process.env, PATH: `${dir}/bin:${process.env['PATH']}` };
    const { status, stderr } = spawnSync(path.join(dir, 'scripts/setup'), { env, encoding: 'utf8' });
    return { status, stderr };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

it.each(['18.20.4', '20.19.5', '20.9.0'])('setup - Node.js %s is refused', (version) => {
  expect(setUpWith(version)).toEqual({
    status: 3,
    stderr: expect.stringContaining(`20.20 or newer is needed, found ${version}`),
  });
});

it.each(['20.20.0', '22.1.0', '100.0.1'])('setup - Node.js %s is taken', (version) => {
  expect(setUpWith(version)).toEqual({ status: 0, stderr: '' });
});
