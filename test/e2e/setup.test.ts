// scripts/setup: rejects a Node.js that is too old before it installs anything, installs or names
// missing packages, does nothing on a second run, and retries temporary failures of a mirror or a
// package lock.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CHECKOUT } from '@bailiff/lab';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';

/** The script's record of its last run is current, so it fetches nothing. */
const SERVER = '.cache/nats-newest/usr/sbin/nats-server';
const HELM = '.cache/helm/helm';
const CRI_PROTOCOL = '.cache/cri/api.proto';
const COSIGN = '.cache/cosign/usr/bin/cosign';
const DONE = [
  ...['package-lock.json', 'node_modules/.bailiff-lock', 'test/vm/kernels.json', '.cache/kernels/list.json'],
  ...[SERVER, HELM, CRI_PROTOCOL, COSIGN],
];
const SCRIPT = readFileSync(path.join(CHECKOUT, 'scripts/setup'), 'utf8');
/** Programs that the script runs, in addition to the shell's builtins. */
const BASE = ['sh', 'env', 'id', 'dirname', 'sort', 'tr', 'cmp', 'cp'];
/** The first name of each command that it looks for, as far as no sbin folder has it. */
const LOOKED_FOR = [...SCRIPT.matchAll(/^([a-z0-9_+-]+)(?:\|[^:\s]+)*:[a-z0-9+-]+$/gm)].map(
  (match) => match[1] as string,
);
const NOBODY = 65_534;
const UPDATE = 'apt-get update -qq';
const INSTALL = 'apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends';
const MODULES = 'npm ci --no-audit --no-fund --loglevel=error';
const KERNELS = 'node --import tsx test/vm/fetch.ts';
const NEWEST_NATS = 'node --import tsx tools/fetch-nats.ts';
const FETCH_HELM = 'node --import tsx tools/fetch-helm.ts';
const FETCH_PROTOCOL = 'node --import tsx test/support/cri/fetch-protocol.ts';

const FETCH_COSIGN = 'node --import tsx tools/fetch-cosign.ts';

/** Programs that write down how they were called. */
const REPORTED = ['apt-get', 'npm', 'node', 'sleep'] as const;
type Of<T> = Partial<Record<(typeof REPORTED)[number], T>>;
/** Number of failures of each program before it works. */
type Failures = Of<number>;

/**
 * A separate checkout for the script, and a machine: a PATH with all expected programs except the
 * missing ones, some of them replaced by stand-ins.
 */
class Machine implements Disposable {
  readonly #dir = temporaryDirectory();

  constructor(options: { missing?: string[]; node?: string; apt?: boolean; failures?: Failures } = {}) {
    const { missing = [], node = '22.1.0', apt = true, failures = {} } = options;
    chmodSync(this.#dir, 0o755);
    this.put('scripts/setup', SCRIPT);
    for (const file of DONE) this.put(file, '{}');
    mkdirSync(path.join(this.#dir, 'bin'));
    for (const name of BASE) symlinkSync(this.#real(name), this.#bin(name));
    for (const name of LOOKED_FOR) if (!missing.includes(name)) this.put(`bin/${name}`, '#!/bin/sh\n');
    // Installs the missing programs, as far as the script can see.
    const installs = missing.map((name) => `: >${this.#bin(name)}; /bin/chmod 755 ${this.#bin(name)}`).join('; ');
    const sizes = 'Need to get 58.6 MB of archives.';
    const acts: Of<string> = {
      'apt-get': `case " $* " in *" --assume-no "*) echo "${sizes}" ;; *" install "*) ${installs || ':'} ;; esac`,
    };
    // Which version it is, is no call.
    const before: Of<string> = { node: `[ "$1" != -p ] || { echo ${node}; exit; }` };
    for (const name of REPORTED.filter((one) => apt || one !== 'apt-get')) {
      const left = path.join(this.#dir, `${name}.failures`);
      writeFileSync(left, `${failures[name] ?? 0}\n`, { mode: 0o666 });
      const fails = `read -r left <${left}\n[ "$left" -eq 0 ] || { echo $((left - 1)) >${left}; exit 100; }`;
      const call = `echo "${name} $*" >>${this.#calls}`;
      const lines = ['#!/bin/sh', before[name] ?? '', call, fails, acts[name] ?? ':', ''];
      this.put(`bin/${name}`, lines.join('\n'));
    }
  }

  get #calls(): string {
    return path.join(this.#dir, 'calls');
  }
  #bin(name: string): string {
    return path.join(this.#dir, 'bin', name);
  }
  #real(name: string): string {
    const found = ['/usr/bin', '/bin'].map((dir) => path.join(dir, name)).find((file) => existsSync(file));
    if (!found) throw new Error(`no ${name} in /usr/bin or /bin`);
    return found;
  }

  put(file: string, text: string): void {
    const target = path.join(this.#dir, file);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text, { mode: 0o755 });
  }

  remove(file: string): void {
    rmSync(path.join(this.#dir, file));
  }

  run(uid = 0, args: readonly string[] = []): { status: number | null; stderr: string; calls: string[] } {
    rmSync(this.#calls, { force: true });
    const options = { env: { PATH: path.join(this.#dir, 'bin') }, encoding: 'utf8', uid, gid: uid } as const;
    const { status, stderr } = spawnSync(path.join(this.#dir, 'scripts/setup'), args, options);
    const calls = existsSync(this.#calls) ? readFileSync(this.#calls, 'utf8').trim().split('\n') : [];
    return { status, stderr, calls };
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true });
  }
}

it.each(['18.20.4', '20.19.5', '20.9.0'])('setup - Node.js %s is refused', (node) => {
  using machine = new Machine({ node });
  expect(machine.run()).toEqual({
    status: 3,
    stderr: expect.stringContaining(`20.20 or newer is needed, found ${node}`),
    calls: [],
  });
});

it.each(['20.20.0', '22.1.0', '100.0.1'])('setup - Node.js %s is accepted', (node) => {
  using machine = new Machine({ node });
  expect(machine.run()).toEqual({ status: 0, stderr: '', calls: [] });
});

it.each([
  ['without root', true, NOBODY],
  ['without apt-get', false, 0],
  ['without root and apt-get', false, NOBODY],
])('setup - %s it names the packages to install, changes nothing and exits with 3', (_who, apt, uid) => {
  using machine = new Machine({ missing: ['jq', 'kubectl', 'openssl'], apt });
  expect(machine.run(uid)).toEqual({
    status: 3,
    stderr:
      'setup: missing: jq kubernetes-client openssl \n' +
      'setup: install these packages (Debian names), or run this script as root on Debian or Ubuntu\n',
    calls: [],
  });
});

it('setup - without root it succeeds if nothing is missing', () => {
  using machine = new Machine();
  expect(machine.run(NOBODY)).toEqual({ status: 0, stderr: '', calls: [] });
});

it('setup - as root it installs only the missing packages; run again it does nothing', () => {
  using machine = new Machine({ missing: ['jq', 'openssl'] });
  expect(machine.run()).toEqual({
    status: 0,
    stderr: 'setup: installing jq openssl \n',
    calls: [UPDATE, `${INSTALL} jq openssl`],
  });
  expect(machine.run()).toEqual({ status: 0, stderr: '', calls: [] });
});

it('setup - the packages of the workspace and the kernels are fetched when their lists change, and once', () => {
  using machine = new Machine();
  machine.put('package-lock.json', '{"changed":true}');
  machine.put('test/vm/kernels.json', '{"changed":true}');
  expect(machine.run()).toEqual({
    status: 0,
    stderr: 'setup: npm ci\n',
    calls: [MODULES, KERNELS],
  });
  expect(machine.run()).toEqual({ status: 0, stderr: '', calls: [] });
});

/** With other modules and kernels than before. */
function changed(failures: Failures, missing: string[] = []): Machine {
  const machine = new Machine({ missing, failures });
  for (const list of ['package-lock.json', 'test/vm/kernels.json']) machine.put(list, '{"changed":true}');
  return machine;
}

it('setup - package lists that cannot be had now do not matter where the packages can', () => {
  using machine = new Machine({ missing: ['jq'], failures: { 'apt-get': 1 } });
  const { status, calls } = machine.run();
  expect([status, ...calls]).toEqual([0, UPDATE, `${INSTALL} jq`]);
});

it('setup - temporary failures are retried with growing pauses; for a kernel the package lists are updated', () => {
  using machine = changed({ 'apt-get': 4, npm: 1, node: 1 }, ['jq']);
  const { status, stderr, calls } = machine.run();
  const packages = [UPDATE, `${INSTALL} jq`];
  expect([status, ...calls]).toEqual([
    ...[0, ...packages, 'sleep 5', ...packages, 'sleep 10', ...packages],
    ...[MODULES, 'sleep 5', MODULES, KERNELS, UPDATE, 'sleep 5', KERNELS],
  ]);
  expect(stderr).toContain('setup: failed: install; again in 5 s');
});

it('setup - permanent failures end it after minutes; an unavailable kernel does not', () => {
  using packages = new Machine({ missing: ['jq'], failures: { 'apt-get': 1_000 } });
  const { status, calls } = packages.run();
  const pauses = calls.filter((call) => call.startsWith('sleep')).map((call) => Number(call.split(' ')[1]));
  expect([status === 0, pauses]).toEqual([false, [5, 10, 20, 40, 60, 60, 60, 60]]);
  using modules = changed({ npm: 1_000 });
  expect(modules.run().status).not.toBe(0);
  using kernels = changed({ node: 1_000 });
  expect(kernels.run().status).toBe(0);
});

it.each([
  ['the newest nats-server', SERVER, NEWEST_NATS, []],
  ['helm', HELM, FETCH_HELM, []],
  ['cosign', COSIGN, FETCH_COSIGN, [UPDATE]],
  ['the protocol of container runtimes', CRI_PROTOCOL, FETCH_PROTOCOL, [UPDATE]],
])('setup - %s is fetched if it is missing; without it the setup continues', (_, file, fetch, before) => {
  using machine = new Machine({ failures: { node: 1 } });
  machine.put('bin/uname', '#!/bin/sh\necho x86_64\n');
  machine.remove(file);
  expect(machine.run()).toMatchObject({ status: 0, calls: [fetch, ...before, 'sleep 5', fetch] });
  using offline = new Machine({ failures: { node: 1_000 } });
  offline.put('bin/uname', '#!/bin/sh\necho x86_64\n');
  offline.remove(file);
  expect(offline.run().status).toBe(0);
  machine.put(file, '');
  expect(machine.run()).toMatchObject({ status: 0, calls: [] });
});

const ANNOUNCED = ['--demo', '--announce', '7'];

it('setup - announced, it names what it installs with the size, waits, and installs; nothing missing is no wait', () => {
  using machine = changed({}, ['jq']);
  const { status, stderr, calls } = machine.run(0, ANNOUNCED);
  const question = 'apt-get install --assume-no --no-install-recommends jq';
  expect([status, ...calls]).toEqual([0, UPDATE, question, 'sleep 7', UPDATE, `${INSTALL} jq`, MODULES, KERNELS]);
  expect(stderr).toMatch(
    /^setup: this will be installed:\npackages of the distribution, as root: jq \n {2}Need to get 58\.6 MB of archives\.\nnpm packages .*\na kernel .*\nsetup: starts in 7 s/,
  );
  expect(machine.run(0, ANNOUNCED)).toEqual({ status: 0, stderr: '', calls: [] });
});

it('setup - without root an announcement changes nothing: the missing packages are named', () => {
  using machine = new Machine({ missing: ['jq'] });
  expect(machine.run(NOBODY, ANNOUNCED)).toMatchObject({ status: 3, calls: [] });
});

it('setup - for the demo, what only tests use is not fetched', () => {
  using machine = new Machine();
  machine.put('bin/uname', '#!/bin/sh\necho x86_64\n');
  for (const file of [SERVER, HELM, COSIGN, CRI_PROTOCOL]) machine.remove(file);
  expect(machine.run(0, ['--demo'])).toMatchObject({ status: 0, calls: [] });
  // The control: without the option they are.
  expect(machine.run().calls).toEqual([NEWEST_NATS, FETCH_HELM, FETCH_COSIGN, FETCH_PROTOCOL]);
});

it('setup - an unknown option is refused', () => {
  using machine = new Machine();
  expect(machine.run(0, ['--announc'])).toEqual({ status: 2, stderr: 'setup: unknown option --announc\n', calls: [] });
});
