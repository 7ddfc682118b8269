/**
 * Containers and policies for the tests of files and mounts: the runtime programs
 * (harness/loaded.ts), and programs in containers (programs/contain.c). A container consists of a
 * cgroup, an overlay root with a volume, and a process; each has its own pod. Disposal removes
 * everything.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import path from 'node:path';
import { RUNTIME_EXTRA_CELLS, type RuntimeObject } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { compileSet, encodeSet, mergeSelected, type PolicySet } from '@bailiff/runtime';
import { policyOf } from '../../libs/runtime/src/testing.ts';
import { compileProgram } from '../vm/compile.ts';
import { loadShared } from './harness/loaded.ts';
import { installFile, Mounts, Running, removeCgroup } from './harness/rig.ts';

export { LOAD_TIMEOUT_MS, type Running } from './harness/rig.ts';

const CGROUPS = '/sys/fs/cgroup';
/** Cells of one subject here: more than any test's rules. */
const CELLS = 64;
const here = (file: string): string => path.join(import.meta.dirname, 'programs', file);

/** A program of this folder, linked so that it runs in an empty root. */
export const staticProgram = (file: string): string => compileProgram(here(file), { flags: ['-static'] });

/** A feature that older kernels lack, and its first release of Linux. */
interface KernelFeature {
  readonly what: string;
  readonly since: readonly [major: number, minor: number];
}

export const TMPFILE_ON_OVERLAY: KernelFeature = { what: 'O_TMPFILE on overlayfs', since: [6, 3] };
export const FTRUNCATE_BY_RING: KernelFeature = { what: 'ftruncate by io_uring', since: [6, 9] };
export const FUSE_PASSTHROUGH: KernelFeature = { what: 'passthrough of FUSE', since: [6, 9] };
export const OWNER_LOOK_UP: KernelFeature = { what: 'look-up of a process by its number', since: [6, 2] };

/** The reason why it cannot be tried on this kernel; null if it can. */
export function whyLacking({ what, since: [major, minor] }: KernelFeature): string | null {
  const [ownMajor = 0, ownMinor = 0] = release().split('.').map(Number.parseFloat);
  const isHere = ownMajor > major || (ownMajor === major && ownMinor >= minor);
  return isHere ? null : `this kernel has no ${what}: Linux ${major}.${minor}`;
}

/** Only ext4 opens a file by its handle without knowing its path. */
export type Volume = 'tmpfs' | 'ext4';

export interface Counts {
  /** `<policy>/<rule>`, `posture`, `unresolved` → violations. Zeroes left out. */
  readonly [what: string]: number;
}

export class FilesRig implements Disposable {
  readonly #loaded = loadShared();
  readonly #containers: Container[] = [];

  get object(): RuntimeObject {
    return this.#loaded.object;
  }

  /** A container that has not run anything yet. */
  container(volume: Volume = 'tmpfs'): Container {
    const container = new Container(this.#loaded.nextIndex(), volume);
    this.#containers.push(container);
    return container;
  }

  /**
   * Puts a policy in force for a pod: first the whole set, then the one value that refers to it.
   */
  apply(container: Container, input: RuntimePolicyInput): PolicySet {
    const set = mergeSelected([policyOf(input)]);
    const { maps } = this.object;
    const number = this.#loaded.nextSet();
    maps.writeSet(encodeSet(compileSet(set, number, maps.settings().hashKey)));
    const counterBase = container.index * CELLS;
    const counterCount = set.rules.length + RUNTIME_EXTRA_CELLS;
    maps.zeroCounters(counterBase, counterCount);
    maps.pods.set(container.uid, {
      set: number,
      counterBase,
      counterCount,
      generation: number,
      bucket: container.index,
      hasContainers: false,
      auditUntilNs: 0n,
    });
    container.set = set;
    return set;
  }

  counts(container: Container): Counts {
    const rules = container.set?.rules ?? [];
    const cells = this.object.maps.counters(container.index * CELLS, rules.length + RUNTIME_EXTRA_CELLS);
    const name = (cell: number) =>
      rules[cell]?.name ?? (cell - rules.length < RUNTIME_EXTRA_CELLS - 2 ? 'posture' : 'unresolved');
    const counts: Record<string, number> = {};
    for (const [cell, count] of cells.entries())
      if (count > 0n) counts[name(cell)] = (counts[name(cell)] ?? 0) + Number(count);
    return counts;
  }

  [Symbol.dispose](): void {
    for (const container of this.#containers) {
      container[Symbol.dispose]();
      this.object.maps.pods.delete(container.uid);
    }
    this.#loaded.release();
  }
}

export class Container implements Disposable {
  readonly uid = randomBytes(16).toString('hex');
  readonly index: number;
  /** The root as the host sees it; `volume` in it is a mount of another file system. */
  readonly root: string;
  /** The set in force for it. */
  set: PolicySet | null = null;
  readonly #dir: string;
  readonly #cgroup: string;
  readonly #pod: string;
  readonly #mounts: Mounts;
  readonly #running = new Set<Running>();

  constructor(index: number, volume: Volume) {
    this.index = index;
    this.#dir = mkdtempSync(path.join(tmpdir(), 'bailiff-container-'));
    this.root = path.join(this.#dir, 'root');
    const at = (name: string) => path.join(this.#dir, name);
    for (const name of ['lower', 'upper', 'work', 'root', 'volume']) mkdirSync(at(name));
    for (const name of ['proc', 'dev', 'bin', 'volume', 'etc']) mkdirSync(path.join(at('lower'), name));
    const layers = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`;
    const root = ['overlay', 'overlay', this.root, layers] as const;
    const volumeAt = path.join(this.root, 'volume');
    if (volume === 'ext4') {
      this.#mounts = new Mounts([root]);
      execFileSync('modprobe', ['-a', 'loop', 'ext4']);
      writeFileSync(at('disk'), '');
      truncateSync(at('disk'), 16 << 20);
      execFileSync('mkfs.ext4', ['-q', at('disk')]);
      this.#mounts.mount(volumeAt, ['-o', 'loop', at('disk')]);
    } else {
      this.#mounts = new Mounts([root, ['tmpfs', 'volume', volumeAt, '']]);
    }
    const uid = this.uid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    this.#pod = path.join(CGROUPS, 'kubepods', `pod${uid}`);
    this.#cgroup = path.join(this.#pod, 'container');
    mkdirSync(this.#cgroup, { recursive: true });
  }

  /** Installs a program into /bin of the image. */
  install(program: string, name: string): string {
    const target = `/bin/${name}`;
    installFile(program, path.join(this.#dir, 'lower'), target);
    return target;
  }

  /** Starts a program; `leak` is opened for reading and passed as descriptor 9. */
  run(program: string, args: readonly string[] = [], leak?: number): Running {
    const words = [this.#cgroup, this.root, program, ...args];
    const stdio = ['pipe', 'pipe', 'pipe', ...(leak === undefined ? [] : [...Array(6).fill('ignore'), leak])];
    const running = new Running(spawn(staticProgram('contain.c'), words, { stdio: stdio as never }));
    this.#running.add(running);
    return running;
  }

  [Symbol.dispose](): void {
    for (const running of this.#running) running.child.kill('SIGKILL');
    this.#mounts[Symbol.dispose]();
    rmSync(this.#dir, { recursive: true });
    for (const dir of [this.#cgroup, this.#pod]) removeCgroup(dir);
  }
}
