/**
 * Fetches one kernel of the distribution and unpacks it into `.cache/kernels/<name>`. Needs
 * apt-get, dpkg-deb and depmod. For a kernel of other suites it uses separate package lists
 * (tools/distribution.ts). An unpacked kernel appears whole or not at all.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { aptOf, run, unpack } from '../../tools/distribution.ts';
import { DEFAULT_KERNEL, findKernel, KERNELS, type KernelEntry, kernelsDir } from './kernels.ts';

/** The packages that a boot needs if a kernel is split: meta package, image, modules. */
const PART = /^\s*Depends: (linux-(?:image|binary|modules|base)-\d\S*)$/gm;

/** The packages that the named package consists of or depends on. */
function parts(name: string, apt: readonly string[]): string[] {
  const found = new Set([name]);
  for (const one of found)
    for (const [, part = ''] of run('apt-cache', [...apt, 'depends', '--important', one]).matchAll(PART))
      found.add(part);
  // A meta package contains no files.
  return [...found].filter((one) => one !== name || found.size === 1 || /-\d/.test(name));
}

/** Fetches and unpacks a kernel. @returns the name of its image package */
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

/**
 * Fetches a kernel of other suites, which scripts/setup does not fetch. A failure is reported on
 * stderr, and the kernel is missing afterwards.
 */
export function fetchMissing(name = DEFAULT_KERNEL): void {
  const entry = KERNELS.find((one) => one.name === name);
  if (entry?.suites === undefined || entry.arch !== process.arch || findKernel(entry.name) !== null) return;
  tryToFetch(entry);
}

/** @returns false if the fetch fails; the reason is on stderr */
export function tryToFetch(entry: KernelEntry): boolean {
  try {
    process.stderr.write(`setup: kernel ${entry.name}: ${fetchKernel(entry)}\n`);
    return true;
  } catch (error) {
    process.stderr.write(`setup: kernel ${entry.name} (${entry.package}) could not be fetched: ${String(error)}\n`);
    return false;
  }
}
