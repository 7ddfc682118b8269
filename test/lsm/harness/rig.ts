/**
 * The runtime programs (loaded.ts), pods with cgroups named as kubelet names them, and containers
 * in them: an overlay root with proc, a tmpfs and a volume. programs/contain.c performs a runtime's
 * steps. libs/runtime compiles the policies; outcomes are read from the counters and the ring.
 * Disposal removes everything.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import {
  BpfMap,
  cgroupId,
  decodeBatch,
  RingReader,
  RUNTIME_EXTRA_CELLS,
  type RuntimeObject,
  type RuntimeSample,
  type RuntimeSubject,
} from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { compileSet, encodeSet, type PolicySet } from '@bailiff/runtime';
import { setOf } from '../../../libs/runtime/src/testing.ts';
import { compileProgram } from '../../vm/compile.ts';
import { type Loaded, loadShared } from './loaded.ts';

const CGROUPS = '/sys/fs/cgroup';
/**
 * Loading all programs takes 20 s under emulation, and ten times as long on a busy machine: more
 * than 200 s at a load of 15.
 */
export const LOAD_TIMEOUT_MS = 480_000;
/** Cells of one subject here: more than the rules of a policy. */
const CELLS = 320;

export const source = (file: string): string => path.join(import.meta.dirname, file);
const contain = (): string => compileProgram(source('../programs/contain.c'), { flags: ['-static'] });
const mounter = (): string => compileProgram(source('../programs/mounts.c'), { flags: ['-static'] });
export const acts = (): string => compileProgram(source('acts.c'), { flags: ['-static'] });

export type Driver = 'cgroupfs' | 'systemd';

const dashed = (uid: string, by: string): string =>
  uid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, ['$1', '$2', '$3', '$4', '$5'].join(by));

/** A pod's cgroup as kubelet names it, below /sys/fs/cgroup. */
export function podCgroup(uid: string, driver: Driver): string {
  return driver === 'cgroupfs'
    ? `kubepods/burstable/pod${dashed(uid, '-')}`
    : `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${dashed(uid, '_')}.slice`;
}

export class Rig implements Disposable {
  readonly #pods: Pod[] = [];
  #loaded: Loaded | null;

  /** @param loaded default: shared by all files of a run, loaded at first use */
  constructor(loaded: Loaded | null = null) {
    this.#loaded = loaded;
  }

  get loaded(): Loaded {
    this.#loaded ??= loadShared();
    return this.#loaded;
  }

  get object(): RuntimeObject {
    return this.loaded.object;
  }

  pod(driver: Driver = 'cgroupfs'): Pod {
    const pod = new Pod(this, this.loaded.nextIndex(), driver);
    this.#pods.push(pod);
    return pod;
  }

  /** Ends a pod before the rig. */
  end(pod: Pod): void {
    this.#pods.splice(this.#pods.indexOf(pod), 1);
    pod[Symbol.dispose]();
  }

  /** Takes this rig's records from the ring. */
  takeSamples(): RuntimeSample[] {
    using map = BpfMap.openPinned(path.join(this.loaded.pinDir, 'maps/samples'));
    const taken: RuntimeSample[] = [];
    const onBatch = (batch: Buffer) => {
      const { runtime, errors } = decodeBatch(batch);
      assert.deepEqual(errors, []);
      taken.push(...runtime);
    };
    using reader = new RingReader(map, { onBatch });
    reader.drain();
    return taken;
  }

  [Symbol.dispose](): void {
    for (const pod of this.#pods) pod[Symbol.dispose]();
    this.#loaded?.release();
  }
}

/**
 * Writes a set and zeroes its cells; no subject refers to it yet. `index` is also the number of the
 * bucket.
 */
export function prepareSubject(loaded: Loaded, index: number, set: PolicySet): RuntimeSubject {
  const { maps } = loaded.object;
  const number = loaded.nextSet();
  maps.writeSet(encodeSet(compileSet(set, number, maps.settings().hashKey)));
  const counterBase = index * CELLS;
  const counterCount = set.rules.length + RUNTIME_EXTRA_CELLS;
  maps.zeroCounters(counterBase, counterCount);
  const cells = { set: number, counterBase, counterCount, generation: number, bucket: index };
  return { ...cells, hasContainers: false, auditUntilNs: 0n };
}

/** Rule's name, or `extra-<n>` → violations. Zeroes left out. */
export function countsAt(object: RuntimeObject, index: number, set: PolicySet | null): Record<string, number> {
  const rules = set?.rules ?? [];
  const cells = object.maps.counters(index * CELLS, rules.length + RUNTIME_EXTRA_CELLS);
  const named = cells.map(
    (count, cell) => [rules[cell]?.name ?? `extra-${cell - rules.length}`, Number(count)] as const,
  );
  return Object.fromEntries(named.filter(([, count]) => count > 0));
}

export class Pod implements Disposable {
  readonly uid = randomBytes(16).toString('hex');
  readonly cgroup: string;
  set: PolicySet | null = null;
  readonly #rig: Rig;
  readonly #index: number;
  readonly #containers: Container[] = [];

  constructor(rig: Rig, index: number, driver: Driver) {
    this.#rig = rig;
    this.#index = index;
    this.cgroup = path.join(CGROUPS, podCgroup(this.uid, driver));
    mkdirSync(this.cgroup, { recursive: true });
  }

  get cgroupId(): bigint {
    return cgroupId(this.cgroup);
  }

  get counterBase(): number {
    return this.#index * CELLS;
  }

  container(snapshotter: Snapshotter = 'overlay'): Container {
    const container = new Container(this.cgroup, this.#containers.length, snapshotter);
    this.#containers.push(container);
    return container;
  }

  subject(): RuntimeSubject {
    return this.#rig.object.maps.pods.get(this.uid)!;
  }

  /**
   * Puts policies in force: first the whole set, then the one value that refers to it. Counters
   * restart at zero.
   */
  apply(...inputs: RuntimePolicyInput[]): PolicySet {
    return this.put(setOf(...inputs));
  }

  /** The same with a merged set. */
  put(set: PolicySet): PolicySet {
    this.#rig.object.maps.pods.set(this.uid, prepareSubject(this.#rig.loaded, this.#index, set));
    this.set = set;
    return set;
  }

  /** Rule's name, or `extra-<n>` → violations. Zeroes left out. */
  counts(): Record<string, number> {
    return countsAt(this.#rig.object, this.#index, this.set);
  }

  [Symbol.dispose](): void {
    for (const container of this.#containers) container[Symbol.dispose]();
    this.#rig.object.maps.pods.delete(this.uid);
    removeCgroup(this.cgroup);
  }
}

/**
 * A cgroup can be removed after its last process is reaped, and a kill does not wait for that. A
 * runtime may have removed it already.
 */
export function removeCgroup(dir: string): void {
  for (let i = 0; i < 1000; i++) {
    try {
      rmdirSync(dir);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
  throw new Error(`${dir} is still busy`);
}

/** Mounts that disposal removes, lazily and in reverse. The first ones are made by one process. */
export class Mounts implements Disposable {
  readonly #targets: string[];

  /** @param first type or `bind`, source, target, options */
  constructor(first: readonly (readonly [string, string, string, string])[]) {
    execFileSync(mounter(), ['on', ...first.flat()]);
    this.#targets = first.map(([, , target]) => target);
  }

  /** @param words of mount(8), without the target */
  mount(target: string, words: readonly string[]): void {
    execFileSync('mount', [...words, target]);
    this.#targets.push(target);
  }

  [Symbol.dispose](): void {
    const targets = this.#targets.splice(0).reverse();
    if (targets.length > 0) execFileSync(mounter(), ['off', ...targets]);
  }
}

/** Name in an image and source → the file that images link to. */
const installed = new Map<string, string>();
let files: string | undefined;

/**
 * Installs a file into an image, as a link to the file of the same name in earlier images: a copy
 * takes 40 ms under emulation, and the emulator translates the code of each copy.
 */
export function installFile(from: string, image: string, name: string): void {
  const key = `${name} ${from}`;
  let file = installed.get(key);
  if (file === undefined) {
    files ??= mkdtempSync(path.join(tmpdir(), 'bailiff-files-'));
    file = path.join(files, `${installed.size}`);
    copyFileSync(from, file);
    installed.set(key, file);
  }
  const target = path.join(image, name);
  mkdirSync(path.dirname(target), { recursive: true });
  try {
    linkSync(file, target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyFileSync(file, target);
  }
}

/**
 * How the root of a container is made: an overlay on an image, or a directory. `native` (and vfs)
 * has it on the file system that is also the root of the runtime, `btrfs` on another one.
 */
export type Snapshotter = 'overlay' | 'native' | 'btrfs';

/** On the file system of `/`, which is not that of temporary files. */
const ON_ROOT = '/var/lib';
/** The least that btrfs takes. */
const BTRFS_BYTES = 128 << 20;

/** Makes a btrfs in a file, and a subvolume `lower` in it. @returns the directory above it */
function makeBtrfs(dir: string): string {
  const [disk, at] = [path.join(dir, 'disk.img'), path.join(dir, 'btrfs')];
  execFileSync('modprobe', ['-a', 'loop', 'btrfs']);
  writeFileSync(disk, '');
  truncateSync(disk, BTRFS_BYTES);
  execFileSync('mkfs.btrfs', ['-q', disk]);
  mkdirSync(at);
  execFileSync('mount', ['-o', 'loop', disk, at]);
  execFileSync('btrfs', ['-q', 'subvolume', 'create', path.join(at, 'lower')]);
  return at;
}

export class Container implements Disposable {
  readonly cgroup: string;
  /** The root as the host sees it. */
  readonly root: string;
  readonly #dir: string;
  /** The image, or without an overlay the root. */
  readonly #lower: string;
  readonly #disk: string;
  readonly #mounts: Mounts;
  readonly #btrfs: string | null;
  readonly #running = new Set<Running>();

  constructor(podDir: string, index: number, snapshotter: Snapshotter = 'overlay') {
    this.cgroup = path.join(podDir, `container-${index}`);
    mkdirSync(this.cgroup);
    this.#dir = mkdtempSync(path.join(snapshotter === 'native' ? ON_ROOT : tmpdir(), 'bailiff-container-'));
    this.root = path.join(this.#dir, 'root');
    this.#btrfs = snapshotter === 'btrfs' ? makeBtrfs(this.#dir) : null;
    this.#lower = path.join(this.#btrfs ?? this.#dir, 'lower');
    for (const name of [this.#lower, ...['upper', 'work', 'root'].map((name) => path.join(this.#dir, name))])
      mkdirSync(name, { recursive: true });
    for (const name of ['proc', 'dev/shm', 'bin', 'tmp', 'volume', 'disk', 'etc'])
      mkdirSync(this.image(name), { recursive: true });
    this.install(acts(), '/bin/acts');
    const at = (name: string) => path.join(this.#dir, name);
    const layers = `lowerdir=${this.#lower},upperdir=${at('upper')},workdir=${at('work')}`;
    // The repository's share has its own file system type here, neither tmpfs nor overlay.
    mkdirSync(source('build/volumes'), { recursive: true });
    this.#disk = mkdtempSync(source('build/volumes/'));
    this.#mounts = new Mounts([
      snapshotter === 'overlay' ? ['overlay', 'overlay', this.root, layers] : ['bind', this.#lower, this.root, ''],
      ['tmpfs', 'shm', path.join(this.root, 'dev/shm'), ''],
      ['bind', this.#disk, path.join(this.root, 'disk'), ''],
    ]);
  }

  get cgroupId(): bigint {
    return cgroupId(this.cgroup);
  }

  /** Host path of a file of the image, before the container sees it. */
  image(name: string): string {
    return path.join(this.#lower, name);
  }

  mount(target: string, ...words: string[]): void {
    this.#mounts.mount(path.join(this.root, target), words);
  }

  /**
   * Installs a file into the image. Other images have the same one, so no test writes to it from the
   * host.
   */
  install(program: string, name: string): void {
    installFile(program, this.image(''), name);
  }

  /** Installs a script into the image. */
  script(name: string, text: string): void {
    writeFileSync(this.image(name), text);
    chmodSync(this.image(name), 0o755);
  }

  /** Unmounts the root on the host, as no known runtime does before the end of a container. */
  unmount(): void {
    this.#mounts[Symbol.dispose]();
  }

  /** Starts a program as a runtime does. */
  start(words: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
    const running = Running.start(contain(), [this.cgroup, this.root, ...words], env);
    this.#running.add(running);
    return running;
  }

  /** Runs it to its end. @returns its output lines, with its exit code last */
  async run(words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string[]> {
    const running = this.start(words, env);
    const code = await running.exit();
    return [...running.lines, `exit ${code}`];
  }

  /** Runs acts of acts.c. @returns how each ended */
  async acts(...words: string[]): Promise<string[]> {
    const lines = await this.run(['/bin/acts', ...words]);
    return lines.filter((line) => line !== 'exit 0');
  }

  [Symbol.dispose](): void {
    for (const running of this.#running) running.child.kill('SIGKILL');
    this.#mounts[Symbol.dispose]();
    if (this.#btrfs !== null) execFileSync('umount', ['--lazy', this.#btrfs]);
    rmSync(this.#disk, { recursive: true, force: true });
    rmSync(this.#dir, { recursive: true, force: true });
    removeCgroup(this.cgroup);
  }
}

/** A process in a container, read line by line. */
export class Running {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  readonly #exit: Promise<number | string>;
  #wake: () => void = () => {};

  static start(program: string, words: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
    return new Running(spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'], env }));
  }

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout!, child.stderr!])
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        this.#wake();
      });
    this.#exit = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        resolve(code ?? signal ?? 'nothing');
        this.#wake();
      });
    });
  }

  /** Waits for a line; fails with all lines if the process ends without it. */
  async line(wanted: string): Promise<void> {
    while (!this.lines.includes(wanted)) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`ended without "${wanted}": ${this.lines.join(' | ')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /**
   * Waits until its lines meet the condition; fails with all of them if the process ends before.
   */
  async until(holds: (lines: readonly string[]) => boolean): Promise<void> {
    while (!holds(this.lines)) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`ended too soon: ${this.lines.join(' | ')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Writes the line that the process waits for. */
  go(): void {
    this.child.stdin!.write('\n');
  }

  exit(): Promise<number | string> {
    return this.#exit;
  }
}
