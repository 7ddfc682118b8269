import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { DAY_S, daysAhead } from './clock/ahead.ts';
import { environmentOf } from './environment.ts';

const HOME = '/tmp/empty';
const ASKED = {
  PATH: '/bin',
  CI: '1',
  BAILIFF_SEED: '7',
  BAILIFF_AHEAD: '40',
  BAILIFF_VM_FILES: 'test/lsm/exec',
  VITEST_POOL_ID: '1',
};
const SHELL = {
  ...ASKED,
  HOME: '/root',
  KUBECONFIG: '/root/prod',
  BAILIFF_NATS_URL: 'nats://prod:4222',
  BAILIFF_COLLECTOR_NODE_NAME: 'n',
  TZ: 'Pacific/Kiritimati',
  LANG: 'tr_TR.UTF-8',
  TMPDIR: '/a',
  NODE_OPTIONS: '',
};

it('environment - what is asked of the tests stays, what programs read goes', () => {
  expect(environmentOf(SHELL, HOME)).toEqual({ ...ASKED, HOME, TZ: 'UTC' });
});

it.each(['BAILIFF_CONTRACT', 'BAILIFF_IMAGES', 'BAILIFF_VM_KERNEL'])(
  'environment - with %s the run reaches out with all that its caller has, but for the zone of time',
  (name) => {
    const given = { ...SHELL, [name]: '1' };
    expect(environmentOf(given, HOME)).toEqual({ ...given, TZ: 'UTC' });
    expect(environmentOf({ ...SHELL, [name]: '' }, HOME)['KUBECONFIG']).toBeUndefined();
  },
);

it('environment - a process that begins with it has it, with a home that is empty and goes with it, and its children too', () => {
  const program = `
    process.umask(0o077);
    const { begin } = await import(${JSON.stringify(path.join(import.meta.dirname, 'environment.ts'))});
    begin();
    const { execFileSync } = await import('node:child_process');
    process.stdout.write(execFileSync('sh', ['-c', 'umask; date +%Z; ls -A ~ | wc -l; echo "<$KUBECONFIG>"; echo ~'], { encoding: 'utf8' }));`;
  const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { ...SHELL, PATH: process.env['PATH'] },
  });
  const [home = '', ...others] = said.trimEnd().split('\n').reverse();
  expect(others.reverse()).toEqual(['0022', 'UTC', '0', '<>']);
  expect(home).toMatch(/^\/tmp\/bailiff-home-/);
  expect(existsSync(home)).toBe(false);
});

it('environment - this run has it, and the clock that was asked for', () => {
  const kernel = (file: string, text: RegExp) => Number(text.exec(readFileSync(`/proc/${file}`, 'utf8'))?.[1]);
  const presentS = kernel('stat', /^btime (\d+)$/m) + kernel('uptime', /^([\d.]+)/);
  expect(Math.abs(Date.now() / 1000 - presentS - daysAhead(process.env) * DAY_S)).toBeLessThan(60);
  expect(new Date(0).getTimezoneOffset()).toBe(0);
  expect(execFileSync('sh', ['-c', 'umask'], { encoding: 'utf8' })).toBe('0022\n');
});
