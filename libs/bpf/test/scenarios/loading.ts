/** In the child: how the addon is found, and what needs mounts of its own. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { cgroupId, isBpffs, mountBpffs, possibleCpus } from '../../src/index.ts';
import { nativePath } from '../../src/native.ts';
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

/** A cgroup of its own in the host's hierarchy, mounted only for this process. */
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

await scenarioMain({ load, mount, cgroup });
