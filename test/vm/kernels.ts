/**
 * The kernels that the virtual machine can boot: packages of the distribution, unpacked into `.cache/kernels`, never installed.
 *
 * Place in the path: kernels.json → fetch.ts (scripts/setup) → here → machine.ts. The first of the list is the default.
 * A kernel that is not there is a reason to skip with, never an exception at import.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface KernelEntry {
  /** What `--kernel` and the tests call it. */
  readonly name: string;
  /** Binary package, or a meta package that depends on it. */
  readonly package: string;
  /** process.arch of the machine that can boot it. */
  readonly arch: string;
}

export interface Kernel {
  readonly name: string;
  /** As `uname -r` says it. */
  readonly release: string;
  /** Root of the unpacked package: boot/, usr/lib/modules/. */
  readonly dir: string;
  readonly image: string;
}

export const repoRoot = path.resolve(import.meta.dirname, '../..');
export const kernelsDir = path.join(repoRoot, '.cache/kernels');

export const KERNELS: readonly KernelEntry[] = JSON.parse(
  readFileSync(path.join(import.meta.dirname, 'kernels.json'), 'utf8'),
) as KernelEntry[];

/** The unpacked kernel of this name, or null when scripts/setup could not fetch it. */
export function findKernel(name: string): Kernel | null {
  const dir = path.join(kernelsDir, name);
  const modules = path.join(dir, 'usr/lib/modules');
  if (!existsSync(modules)) return null;
  const release = readdirSync(modules)[0];
  if (release === undefined) return null;
  const image = path.join(dir, `boot/vmlinuz-${release}`);
  return existsSync(image) ? { name, release, dir, image } : null;
}
