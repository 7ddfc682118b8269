// Messages of `npm run vm` before it starts a machine.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';

const MAIN = path.join(import.meta.dirname, 'main.ts');

it.each([
  [['--help'], 0, /^usage: npm run vm -- \[FLAGS\] COMMAND\n[\s\S]*--timeout N/, /^$/],
  [[], 2, /^$/, /^usage: /],
  [['--colour', 'true'], 2, /^$/, /^npm run vm: Unknown option '--colour'[\s\S]*--help shows how it is used\)\n$/],
])('%j - exit code %i', (args, status, stdout, stderr) => {
  const ended = spawnSync(process.execPath, ['--import', 'tsx', MAIN, ...args], { encoding: 'utf8' });
  expect(ended).toMatchObject({
    status,
    stdout: expect.stringMatching(stdout),
    stderr: expect.stringMatching(stderr),
  });
});
