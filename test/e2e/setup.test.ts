// scripts/setup: refuses a Node.js that is too old before it installs anything, installs or names what is missing, and does nothing twice.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CHECKOUT } from '@bailiff/lab';
import { expect, it } from 'vitest';

/** What the script compares with what it did last is the same: nothing is to be fetched. */
const DONE = ['package-lock.json', 'node_modules/.bailiff-lock', 'test/vm/kernels.json', '.cache/kernels/list.json'];
const SCRIPT = readFileSync(path.join(CHECKOUT, 'scripts/setup'), 'utf8');
/** What the script itself runs, beside the shell's own. */
const BASE = ['sh', 'env', 'id', 'dirname', 'sort', 'tr', 'cmp', 'cp'];
/** The first name of each command that it looks for, as far as no sbin folder has it. */
const LOOKED_FOR = [...SCRIPT.matchAll(/^([a-z0-9_+-]+)(?:\|[^:\s]+)*:[a-z0-9+-]+$/gm)].map(
  (match) => match[1] as string,
);
const NOBODY = 65_534;

/**
 * A checkout of its own for the script, and a machine: a PATH with everything it looks for but what is missing, and with programs in the
 * place of npm, node and apt-get that write down how they were called.
 */
class Machine implements Disposable {
  readonly #dir = mkdtempSync(path.join(tmpdir(), 'bailiff-setup-'));

  constructor(options: { missing?: string[]; node?: string; apt?: boolean } = {}) {
    const { missing = [], node = '22.1.0', apt = true } = options;
    chmodSync(this.#dir, 0o755);
    this.put('scripts/setup', SCRIPT);
    for (const file of DONE) this.put(file, '{}');
    mkdirSync(path.join(this.#dir, 'bin'));
    for (const name of BASE) symlinkSync(this.#real(name), this.#bin(name));
    for (const name of LOOKED_FOR) if (!missing.includes(name)) this.put(`bin/${name}`, '#!/bin/sh\n');
    this.put('bin/node', `#!/bin/sh\ncase "$1" in -p) echo ${node} ;; *) echo "node $*" >>${this.#calls} ;; esac\n`);
    this.put('bin/npm', `#!/bin/sh\necho "npm $*" >>${this.#calls}\n`);
    // Installs what was missing, as far as the script can see it.
    const installs =
      missing.map((name) => `: >${this.#bin(name)}; /bin/chmod 755 ${this.#bin(name)}`).join('; ') || ':';
    const act = `case "$1" in install) ${installs} ;; esac`;
    if (apt) this.put('bin/apt-get', `#!/bin/sh\necho "apt-get $*" >>${this.#calls}\n${act}\n`);
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

  run(uid = 0): { status: number | null; stderr: string; calls: string[] } {
    rmSync(this.#calls, { force: true });
    const options = { env: { PATH: path.join(this.#dir, 'bin') }, encoding: 'utf8', uid, gid: uid } as const;
    const { status, stderr } = spawnSync(path.join(this.#dir, 'scripts/setup'), options);
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

it.each(['20.20.0', '22.1.0', '100.0.1'])('setup - Node.js %s is taken', (node) => {
  using machine = new Machine({ node });
  expect(machine.run()).toEqual({ status: 0, stderr: '', calls: [] });
});

it.each([
  ['who is not root', true, NOBODY],
  ['without apt-get', false, 0],
  ['who is neither root nor has apt-get', false, NOBODY],
])('setup - %s is told which packages to install, by name, and exits 3 with nothing done', (_who, apt, uid) => {
  using machine = new Machine({ missing: ['jq', 'kubectl', 'openssl'], apt });
  expect(machine.run(uid)).toEqual({
    status: 3,
    stderr:
      'setup: missing: jq kubernetes-client openssl \n' +
      'setup: install these packages (Debian names), or run this script as root on Debian or Ubuntu\n',
    calls: [],
  });
});

it('setup - who is not root and lacks nothing is let through', () => {
  using machine = new Machine();
  expect(machine.run(NOBODY)).toEqual({ status: 0, stderr: '', calls: [] });
});

it('setup - as root it installs what is missing and nothing else; run again it does nothing', () => {
  using machine = new Machine({ missing: ['jq', 'openssl'] });
  expect(machine.run()).toEqual({
    status: 0,
    stderr: 'setup: installing jq openssl \n',
    calls: ['apt-get update -qq', 'apt-get install -y -qq --no-install-recommends jq openssl'],
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
    calls: ['npm ci --no-audit --no-fund --loglevel=error', 'node --import tsx test/vm/fetch.ts'],
  });
  expect(machine.run()).toEqual({ status: 0, stderr: '', calls: [] });
});
