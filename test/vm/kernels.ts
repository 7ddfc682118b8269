/**
 * The kernels that the virtual machine can boot: packages of the distribution, unpacked into `.cache/kernels`, never installed.
 *
 * Place in the path: kernels.json → fetch-kernel.ts → here → machine.ts. The first of the list is the default.
 * Those of other suites are fetched when they are asked for by name. A kernel that is not there is a reason to skip with, never an
 * exception at import.
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
  /** Of the distribution, when they are not the machine's own: `bookworm`, `bookworm-security`. */
  readonly suites?: readonly string[];
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

/** What is booted where no one names a kernel: BAILIFF_VM_KERNEL, else the first. */
export const DEFAULT_KERNEL = process.env['BAILIFF_VM_KERNEL'] ?? KERNELS[0]?.name ?? '';

/** Of kernels.json. Throws for a name that is not there. */
export function kernelEntry(name: string): KernelEntry {
  const entry = KERNELS.find((one) => one.name === name);
  if (entry !== undefined) return entry;
  throw new Error(`no kernel ${name}; known: ${KERNELS.map((one) => one.name).join(', ')}`);
}

/** The unpacked kernel of this name, or null when it was not fetched. */
export function findKernel(name: string): Kernel | null {
  const dir = path.join(kernelsDir, name);
  const modules = path.join(dir, 'usr/lib/modules');
  if (!existsSync(modules)) return null;
  const release = readdirSync(modules)[0];
  if (release === undefined) return null;
  const images = [path.join(dir, `boot/vmlinuz-${release}`), path.join(modules, release, 'vmlinuz')];
  const image = images.find((file) => existsSync(file));
  return image === undefined ? null : { name, release, dir, image };
}
