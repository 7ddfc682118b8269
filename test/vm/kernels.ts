/**
 * The kernels that the virtual machine can boot: packages of the distribution, unpacked into
 * `.cache/kernels`, never installed. The first of the list is the default; those of other suites
 * are fetched on request. A missing kernel is a skip reason, never an exception at import. Place in
 * the path: kernels.json → fetch-kernel.ts → here → machine.ts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface KernelEntry {
  /** Name for `--kernel` and the tests. */
  readonly name: string;
  /** Binary package, or a meta package that depends on it. */
  readonly package: string;
  /** process.arch of a machine that can boot it. */
  readonly arch: string;
  /**
   * Suites of the distribution, if they are not the machine's own: `bookworm`, `bookworm-security`.
   */
  readonly suites?: readonly string[];
}

export interface Kernel {
  readonly name: string;
  /** Output of `uname -r`. */
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

/** The default kernel: BAILIFF_VM_KERNEL, else the first. */
export const DEFAULT_KERNEL = process.env['BAILIFF_VM_KERNEL'] ?? KERNELS[0]?.name ?? '';

/** The entry in kernels.json. @throws Error for an unknown name */
export function kernelEntry(name: string): KernelEntry {
  const entry = KERNELS.find((one) => one.name === name);
  if (entry !== undefined) return entry;
  throw new Error(`no kernel ${name}; known: ${KERNELS.map((one) => one.name).join(', ')}`);
}

/** The unpacked kernel of this name; null if it was not fetched. */
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
