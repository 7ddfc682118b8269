/**
 * Cgroups of pods and containers by name: which pods existed before the programs were loaded, and
 * which cgroup belongs to which container. The kernel's id of a cgroup is the inode of its
 * directory.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { cgroupId, normalPodUid, type RuntimeMaps } from '@bailiff/bpf';
import type { PodIdentity } from '@bailiff/schemas';
import { listPodCgroups } from '../../identity/pod-cgroups.ts';
import type { ContainerRef } from '../counting/account.ts';

/** Why containers cannot be found by cgroup on this node; empty: they can. */
export function cgroupProblem(root: string): string {
  if (root === '') return 'no cgroupRoot is configured';
  return existsSync(path.join(root, 'cgroup.controllers')) ? '' : `cgroupRoot ${root} is not of cgroup v2`;
}

/** What to do about `cgroupProblem`. */
export const CGROUP_REMEDY =
  'boot the node with systemd.unified_cgroup_hierarchy=1, or set BAILIFF_COLLECTOR_CGROUP_ROOT to the cgroup v2 tree of the kubelet';

/** null: the cgroup disappeared after its listing. */
function idOf(dir: string): bigint | null {
  try {
    return cgroupId(dir);
  } catch (error) {
    if (existsSync(dir)) throw error;
    return null;
  }
}

/** Cgroup directory of each pod, by the 32 hex digits of its UID. */
export function podCgroupDirs(root: string): Map<string, string> {
  const dirs = new Map<string, string>();
  for (const { podUid, path: dir } of listPodCgroups(root)) {
    const uid = normalPodUid(podUid);
    if (uid !== null) dirs.set(uid, dir);
  }
  return dirs;
}

/**
 * Adds pods to the kernel's map whose cgroups were created before the programs. Removes nothing:
 * the kernel removes a cgroup itself, and never reuses its id.
 * @returns added pods
 */
export function bindExistingPods(cgroups: RuntimeMaps['cgroups'], root: string): number {
  let added = 0;
  for (const [uid, dir] of podCgroupDirs(root)) {
    const id = idOf(dir);
    if (id === null || cgroups.get(id) === uid) continue;
    cgroups.set(id, uid);
    added += 1;
  }
  return added;
}

/** Directories in a pod's cgroup: one per container, whatever the runtime calls it. */
export function childCgroups(podDir: string): { name: string; id: bigint }[] {
  let names: string[] = [];
  try {
    names = readdirSync(podDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return names.flatMap((name) => {
    const id = idOf(path.join(podDir, name));
    return id === null ? [] : [{ name, id }];
  });
}

/**
 * `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`; conmon's own cgroup
 * is no container.
 */
export function isContainerDir(name: string, containerId: string): boolean {
  if (containerId === '') return false;
  if (name === containerId) return true;
  return name.endsWith(`-${containerId}.scope`) && !name.includes('conmon');
}

/** Running containers of a pod, with their cgroups. */
export function containersIn(podDir: string, containers: PodIdentity['containers']): ContainerRef[] {
  const children = childCgroups(podDir);
  return containers.flatMap(({ name, id }) => {
    const bare = id.slice(id.lastIndexOf('/') + 1);
    const child = children.find((one) => isContainerDir(one.name, bare));
    return child ? [{ name, id, cgroupId: child.id.toString() }] : [];
  });
}
