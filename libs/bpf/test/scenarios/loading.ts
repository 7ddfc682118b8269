/**
 * Child process of system.test.ts: how the addon is found, calls that need mounts of their own, and
 * releaseFilePages, after which the process must still work.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { nativePath } from '../../src/core/native.ts';
import { cgroupId, isBpffs, mountBpffs, possibleCpus, releaseFilePages } from '../../src/index.ts';
import { scenarioMain } from '../helpers.ts';

function load(): unknown {
  try {
    return { path: nativePath(), cpus: possibleCpus() };
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { path: nativePath(), code, message };
  }
}

function mount(directory: string): unknown {
  const before = isBpffs(directory);
  mountBpffs(directory);
  return [before, isBpffs(directory)];
}

/** A new cgroup in the host's hierarchy, mounted only for this process. */
function cgroup(directory: string): unknown {
  execFileSync('mount', ['-t', 'cgroup2', 'none', directory]);
  const made = mkdtempSync(`${directory}/bailiff-native-`);
  try {
    const isInode = cgroupId(made) === statSync(made, { bigint: true }).ino;
    return { isInode, differs: cgroupId(made) !== cgroupId(directory) };
  } finally {
    rmdirSync(made);
  }
}

function release(): unknown {
  const before = process.memoryUsage.rss();
  const releasedBytes = releaseFilePages();
  const fellBytes = before - process.memoryUsage.rss();
  return { releasedBytes, fellBytes, worked: JSON.parse('[6, 7]').reduce((a: number, b: number) => a * b, 1) };
}

await scenarioMain({ load, mount, cgroup, release });
