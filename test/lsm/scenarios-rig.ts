/**
 * Stages for attacks and for ordinary use: a pod whose one container has the machine's own programs
 * as its image. The image is an overlay with the machine's root as the lower layer; contain.c or
 * runc starts it, beside a folder of the host that it should never reach. The ready-made policies
 * are the files of policies/, merged and compiled by libs/runtime, and written before anything
 * runs.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicy } from '@bailiff/policy';
import { loadPolicyFile, type NamedPolicy, type PolicySet } from '@bailiff/runtime';
import { mergePolicies } from '@bailiff/runtime/testing';
import { compileProgram } from '../vm/compile.ts';
import { acts, installFile, Mounts, type Pod, type Rig, Running, removeCgroup } from './harness/rig.ts';

const POLICIES = path.resolve(import.meta.dirname, '../../policies');
const program = (file: string): string => path.join(import.meta.dirname, 'programs', file);
export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin';
/** Root with the default capabilities of runtimes. */
export const AS_CONTAINERS_ARE = [
  '/usr/bin/setpriv',
  '--inh-caps=-all',
  '--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+audit_write,+setfcap',
];

/** Parts of the machine's root that no image has: their files would get in the container's way. */
const NOT_OF_AN_IMAGE = ['home', 'mnt', 'opt', 'root', 'run', 'srv', 'tmp', 'var/tmp'];

let hidden = '';
/** A layer that hides those parts, for all stages of a run: each process costs a tenth of a second. */
function hidingLayer(): string {
  if (hidden !== '') return hidden;
  hidden = mkdtempSync(path.join(tmpdir(), 'bailiff-hidden-'));
  process.once('exit', () => rmSync(hidden, { recursive: true, force: true }));
  for (const name of NOT_OF_AN_IMAGE) {
    const file = path.join(hidden, name);
    mkdirSync(path.dirname(file), { recursive: true });
    execFileSync('mknod', [file, 'c', '0', '0']);
  }
  return hidden;
}

/** A pod that every ready-made policy selects. */
const POD = { namespace: 'shop', labels: { 'bailiff.dev/no-shell': 'true' } };

export const READY = readdirSync(POLICIES)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => file.replace('.yaml', ''));

const read = new Map<string, readonly NamedPolicy[]>();
const named = (names: readonly string[]): NamedPolicy[] =>
  names.flatMap((name) => {
    const file = path.join(POLICIES, `${name}.yaml`);
    const policies = read.get(name) ?? loadPolicyFile(readFileSync(file, 'utf8'), file);
    read.set(name, policies);
    return policies;
  });

/** The content of a file of policies/. */
export const readyMadePolicy = (name: string): RuntimePolicy => named([name])[0]!.policy;

function merged(policies: readonly NamedPolicy[]): PolicySet {
  const set = mergePolicies(policies, POD, null);
  if (set === null) throw new Error('no policy selects the pod');
  return set;
}

/** Policies of policies/ as a pod gets them. */
export const readySet = (...names: string[]): PolicySet => merged(named(names));

/** The same without some of their rules, to test the rules behind those. */
export const readySetWithout = (rules: readonly string[], ...names: string[]): PolicySet =>
  merged(
    named(names).map((one) => ({
      ...one,
      policy: { ...one.policy, rules: one.policy.rules.filter(({ name }) => !rules.includes(name)) },
    })),
  );

/**
 * A dynamically linked runtime, as runc is; the other one of contain.c is static, and the container
 * cannot influence it.
 */
export const linkedRuntime = (): string => compileProgram(program('contain.c'));
const runtime = (): string => compileProgram(program('contain.c'), { flags: ['-static'] });
export const operations = (): string => compileProgram(program('scenario-ops.c'), { flags: ['-static'] });
export const preload = (): string => compileProgram(program('scenario-preload.c'), { flags: ['-shared', '-fPIC'] });

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  /**
   * A folder or file of the host that the runtime leaks as descriptor 9; a file is open for
   * writing.
   */
  readonly leaked?: string;
  /** Instead of the static contain. */
  readonly runtime?: string;
}

export interface Ended {
  readonly lines: readonly string[];
  readonly code: number | string;
}

export class Stage implements Disposable {
  readonly pod: Pod;
  readonly cgroup: string;
  /** The container's root as the host sees it. */
  readonly root: string;
  /** A folder of the host. */
  readonly host: string;
  readonly #dir: string;
  readonly #mounts: Mounts;
  #shared = 0;
  readonly #running: Running[] = [];
  #runcs = 0;

  constructor(rig: Rig) {
    this.pod = rig.pod();
    this.cgroup = path.join(this.pod.cgroup, 'container');
    mkdirSync(this.cgroup);
    this.#dir = mkdtempSync(path.join(tmpdir(), 'bailiff-stage-'));
    this.root = path.join(this.#dir, 'root');
    this.host = path.join(this.#dir, 'host');
    for (const name of ['lower', 'upper', 'work', 'root', 'host']) mkdirSync(path.join(this.#dir, name));
    const at = (name: string) => path.join(this.#dir, name);
    installFile(operations(), at('lower'), '/usr/bin/scenario-ops');
    installFile(acts(), at('lower'), '/usr/bin/acts');
    const layers = `lowerdir=${at('lower')}:${hidingLayer()}:/,upperdir=${at('upper')},workdir=${at('work')}`;
    this.#mounts = new Mounts([
      ['overlay', 'overlay', this.root, layers],
      ['devtmpfs', 'dev', path.join(this.root, 'dev'), ''],
      ['tmpfs', 'shm', path.join(this.root, 'dev/shm'), ''],
    ]);
    for (const name of NOT_OF_AN_IMAGE) mkdirSync(path.join(this.root, name));
    for (const name of ['tmp', 'var/tmp']) chmodSync(path.join(this.root, name), 0o1777);
  }

  /** Host path of a file that the container creates at `name`. */
  upper(name: string): string {
    return path.join(this.#dir, 'upper', name);
  }

  mount(target: string, ...words: string[]): void {
    this.#mounts.mount(path.join(this.root, target), words);
  }

  /** Binds a file or socket of the host into the container. @returns its path there */
  share(file: string): string {
    const name = `/srv/shared-${this.#shared++}`;
    writeFileSync(path.join(this.root, name), '');
    this.mount(name, '--bind', file);
    return name;
  }

  start(words: readonly string[], { env = {}, leaked, runtime: by = runtime() }: StartOptions = {}): Running {
    const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'pipe', 'pipe'];
    const open = leaked === undefined ? null : openSync(leaked, statSync(leaked).isDirectory() ? 'r' : 'w');
    if (open !== null) stdio.push(...new Array<'ignore'>(6).fill('ignore'), open);
    const child = spawn(by, [this.cgroup, this.root, ...words], { stdio, env: { PATH, ...env } });
    if (open !== null) closeSync(open);
    return this.#keep(new Running(child));
  }

  #keep(running: Running): Running {
    this.#running.push(running);
    return running;
  }

  /** Output of the programs that were started last, for failures. */
  lastLines(): readonly string[] {
    return this.#running.slice(-2).flatMap(({ lines }) => lines);
  }

  async run(words: readonly string[], options: StartOptions = {}): Promise<Ended> {
    const running = this.start(words, options);
    return { code: await running.exit(), lines: running.lines };
  }

  sh(script: string, options: StartOptions = {}): Promise<Ended> {
    return this.run(['/usr/bin/dash', '-c', script], options);
  }

  ops(...words: string[]): Promise<Ended> {
    return this.run(['/usr/bin/scenario-ops', ...words]);
  }

  /** A container of runc in the pod, beside others of the same pod; they share one `root`. */
  runc(args: readonly string[], capabilities: readonly string[] = []): Runc {
    const name = `c${this.#runcs++}`;
    const dir = path.join(this.#dir, name);
    mkdirSync(dir);
    const cgroup = path.join('/', path.relative('/sys/fs/cgroup', this.pod.cgroup), name);
    writeFileSync(path.join(dir, 'config.json'), JSON.stringify(specOf(this.root, cgroup, args, capabilities)));
    const runc = (...words: string[]) =>
      this.#keep(new Running(spawn('runc', ['--root', path.join(this.#dir, 'runc'), ...words])));
    return new Runc(runc, name, dir);
  }

  [Symbol.dispose](): void {
    for (const { child } of this.#running) child.kill('SIGKILL');
    this.#mounts[Symbol.dispose]();
    rmSync(this.#dir, { recursive: true, force: true });
    removeCgroup(this.cgroup);
  }
}

const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_NET_BIND_SERVICE',
];

function specOf(root: string, cgroupsPath: string, args: readonly string[], more: readonly string[]): object {
  const all = [...CAPABILITIES, 'CAP_KILL', ...more];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args,
      env: [`PATH=${PATH}`],
      cwd: '/',
      capabilities: { bounding: all, effective: all, permitted: all },
    },
    root: { path: root, readonly: false },
    hostname: 'pod',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777'] },
    ],
    linux: {
      cgroupsPath,
      namespaces: ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
    },
  };
}

export class Runc {
  readonly name: string;
  readonly #runc: (...words: string[]) => Running;
  readonly #bundle: string;

  constructor(runc: (...words: string[]) => Running, name: string, bundle: string) {
    this.#runc = runc;
    this.name = name;
    this.#bundle = bundle;
  }

  start(): Running {
    return this.#runc('run', '--bundle', this.#bundle, this.name);
  }

  async run(): Promise<Ended> {
    const running = this.start();
    return { code: await running.exit(), lines: running.lines };
  }

  async exec(...words: string[]): Promise<Ended> {
    const running = this.#runc('exec', this.name, ...words);
    return { code: await running.exit(), lines: running.lines };
  }

  /** Kills and deletes it. */
  async delete(): Promise<void> {
    await this.#runc('delete', '--force', this.name).exit();
  }
}
