/**
 * Fetches the kernels of kernels.json from the distribution and unpacks them into `.cache/kernels/<name>`.
 *
 * Run by scripts/setup. Idempotent: an unpacked kernel is kept. Needs apt-get, dpkg-deb and depmod. What cannot be fetched is
 * named on stderr and left out; the tests of that kernel then skip with the reason, which fails in CI. Exits 1 then,
 * so that the next run tries again.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { findKernel, KERNELS, type KernelEntry, kernelsDir } from './kernels.ts';

const FETCH_TIMEOUT_MS = 300_000;

function run(command: string, args: string[], cwd = kernelsDir): string {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: FETCH_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** A meta package names the image it stands for among its dependencies. */
function imagePackage(name: string): string {
  const depends = run('apt-cache', ['depends', '--important', name]);
  return /Depends: (linux-image-\d[^\s]*)/.exec(depends)?.[1] ?? name;
}

function unpack(entry: KernelEntry): void {
  const dir = mkdtempSync(path.join(kernelsDir, 'partial-'));
  try {
    const name = imagePackage(entry.package);
    run('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', '-qq', name], dir);
    const deb = readdirSync(dir).find((file) => file.endsWith('.deb'));
    if (deb === undefined) throw new Error(`apt-get download ${name} left no package`);
    run('dpkg-deb', ['-x', path.join(dir, deb), path.join(dir, 'root')]);
    const usr = path.join(dir, 'root/usr');
    for (const release of readdirSync(path.join(usr, 'lib/modules'))) run('depmod', ['-b', usr, release]);
    renameSync(path.join(dir, 'root'), path.join(kernelsDir, entry.name));
    process.stderr.write(`setup: kernel ${entry.name}: ${name}\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

mkdirSync(kernelsDir, { recursive: true });
for (const entry of KERNELS) {
  if (entry.arch !== process.arch || findKernel(entry.name) !== null) continue;
  try {
    unpack(entry);
  } catch (error) {
    process.stderr.write(`setup: kernel ${entry.name} (${entry.package}) could not be fetched: ${String(error)}\n`);
    process.exitCode = 1;
  }
}
