// What scripts/setup makes of a mirror, and of locks, that fail for a while: a copy of it runs where next to no command is there, with
// an apt-get and an npm that fail as often as they are told.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
/** Of the machine's own, what the script needs to run at all. */
const OWN = ['cmp', 'cp', 'dirname', 'env', 'grep', 'sort', 'tr'];
/** Says how it was called, and fails as long as there are lines in `<name>.failures`. */
const FAKE = (name: string) => `#!/bin/sh
echo "${name} $*" >>calls
if [ -s ${name}.failures ]; then
	read -r first <${name}.failures
	grep -v -x "$first" ${name}.failures >rest || true
	cp rest ${name}.failures
	exit 100
fi
`;

interface Failures {
  readonly apt?: number;
  readonly npm?: number;
  readonly fetch?: number;
}

/** Exit code, and what was called, the pauses too. */
function setUp({ apt = 0, npm = 0, fetch = 0 }: Failures) {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-setup-'));
  try {
    for (const folder of ['scripts', 'bin', 'node_modules', 'test/vm', '.cache/kernels'])
      mkdirSync(path.join(dir, folder), { recursive: true });
    const write = (name: string, text: string) => {
      writeFileSync(path.join(dir, name), text);
      chmodSync(path.join(dir, name), 0o755);
    };
    write('scripts/setup', readFileSync(path.join(root, 'scripts/setup'), 'utf8'));
    for (const name of OWN) symlinkSync(`/usr/bin/${name}`, path.join(dir, 'bin', name));
    for (const file of ['package-lock.json', 'test/vm/kernels.json']) write(file, '{}');
    for (const [name, times] of Object.entries({ 'apt-get': apt, npm, fetch }))
      write(`${name}.failures`, Array.from({ length: times }, (_, i) => `${i}\n`).join(''));
    for (const name of ['apt-get', 'npm', 'sleep']) write(`bin/${name}`, FAKE(name));
    write('bin/id', '#!/bin/sh\necho 0\n');
    write('bin/node', `${FAKE('fetch').replace('echo', 'if [ "$1" = -p ]; then echo 24.0.0; exit; fi\necho')}`);
    const env = { PATH: path.join(dir, 'bin') };
    const { status } = spawnSync('/bin/sh', [path.join(dir, 'scripts/setup')], { env, encoding: 'utf8' });
    return { status, calls: readFileSync(path.join(dir, 'calls'), 'utf8').trimEnd().split('\n') };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const FETCH = 'fetch --import tsx test/vm/fetch.ts';
const first = (calls: readonly string[]) => calls.map((call) => call.replace(/ (?:-y|--no).*/, ''));
const INSTALL = 'apt-get -o DPkg::Lock::Timeout=600 install';

it('setup - where nothing is there: lists, packages, modules, kernels, each once', () => {
  const { status, calls } = setUp({});
  expect(calls[1]).toMatch(/ --no-install-recommends (.+ )?clang-19 (.+ )?curl /);
  expect([status, ...first(calls)]).toEqual([0, 'apt-get update -qq', INSTALL, 'npm ci', FETCH]);
});

it('setup - lists that cannot be had now do not matter where the packages can', () => {
  const { status, calls } = setUp({ apt: 1 });
  expect([status, ...first(calls)]).toEqual([0, 'apt-get update -qq', INSTALL, 'npm ci', FETCH]);
});

it('setup - what fails for a while is tried again, with ever longer pauses; for a kernel the lists are brought up to date', () => {
  const { status, calls } = setUp({ apt: 4, npm: 1, fetch: 1 });
  const again = ['apt-get update -qq', INSTALL];
  expect([status, ...first(calls)]).toEqual([
    ...[0, ...again, 'sleep 5', ...again, 'sleep 10', ...again, 'npm ci', 'sleep 5', 'npm ci'],
    ...[FETCH, 'apt-get update -qq', 'sleep 5', FETCH],
  ]);
});

it('setup - what goes on failing ends it, after minutes; a kernel that cannot be had does not', () => {
  const { status, calls } = setUp({ apt: 1000 });
  const pauses = calls.filter((call) => call.startsWith('sleep'));
  expect(status).not.toBe(0);
  expect(pauses.map((call) => Number(call.split(' ')[1]))).toEqual([5, 10, 20, 40, 60, 60, 60, 60]);
  expect(setUp({ npm: 1000 }).status).not.toBe(0);
  expect(setUp({ fetch: 1000 }).status).toBe(0);
});
