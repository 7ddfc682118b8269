/**
 * Fetches one kernel of the distribution and unpacks it into `.cache/kernels/<name>`. Needs apt-get, dpkg-deb and depmod.
 *
 * A kernel of other suites comes by lists of its own (tools/distribution.ts). An unpacked kernel appears whole or not at all.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { aptOf, run, unpack } from '../../tools/distribution.ts';
import { DEFAULT_KERNEL, findKernel, KERNELS, type KernelEntry, kernelsDir } from './kernels.ts';

/** Of a kernel that comes in parts, those that a boot takes: meta package, image, modules. */
const PART = /^\s*Depends: (linux-(?:image|binary|modules|base)-\d\S*)$/gm;

/** The parts of the kernel that the package is, or depends on. */
function parts(name: string, apt: readonly string[]): string[] {
  const found = new Set([name]);
  for (const one of found)
    for (const [, part = ''] of run('apt-cache', [...apt, 'depends', '--important', one]).matchAll(PART))
      found.add(part);
  // A meta package has nothing to unpack.
  return [...found].filter((one) => one !== name || found.size === 1 || /-\d/.test(name));
}

/** Fetches and unpacks; which package of an image it was. */
export function fetchKernel(entry: KernelEntry): string {
  mkdirSync(kernelsDir, { recursive: true });
  const dir = mkdtempSync(path.join(kernelsDir, 'partial-'));
  try {
    const apt = aptOf(entry.suites, path.join(dir, 'apt'));
    const names = parts(entry.package, apt);
    const root = unpack(names, apt, dir);
    const usr = path.join(root, 'usr');
    // Up to 6.1 the modules are in /lib.
    const lib = path.join(root, 'lib/modules');
    if (existsSync(lib)) {
      mkdirSync(path.join(usr, 'lib'), { recursive: true });
      renameSync(lib, path.join(usr, 'lib/modules'));
    }
    for (const release of readdirSync(path.join(usr, 'lib/modules'))) run('depmod', ['-b', usr, release]);
    renameSync(root, path.join(kernelsDir, entry.name));
    return names.find((name) => /^linux-image-\d/.test(name)) ?? entry.package;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** For a kernel of other suites, which scripts/setup leaves alone. What cannot be fetched is reported on stderr, and missing afterwards. */
export function fetchMissing(name = DEFAULT_KERNEL): void {
  const entry = KERNELS.find((one) => one.name === name);
  if (entry?.suites === undefined || entry.arch !== process.arch || findKernel(entry.name) !== null) return;
  tryToFetch(entry);
}

/** False, and said on stderr, when it cannot be fetched. */
export function tryToFetch(entry: KernelEntry): boolean {
  try {
    process.stderr.write(`setup: kernel ${entry.name}: ${fetchKernel(entry)}\n`);
    return true;
  } catch (error) {
    process.stderr.write(`setup: kernel ${entry.name} (${entry.package}) could not be fetched: ${String(error)}\n`);
    return false;
  }
}
