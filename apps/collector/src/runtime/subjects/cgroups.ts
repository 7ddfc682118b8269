/**
 * Cgroups of pods and containers, by name: which pods were there before the programs were loaded, and which container is which. The
 * kernel numbers a cgroup as its directory's inode.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { cgroupId, normalPodUid, type RuntimeMaps } from '@bailiff/bpf';
import type { PodIdentity } from '@bailiff/schemas';
import { listPodCgroups } from '../../identity/pod-cgroups.ts';
import type { ContainerRef } from '../counting/account.ts';

/** Why containers cannot be told by their cgroup here; empty: they can. */
export function whyNoCgroups(root: string): string {
  if (root === '') return 'no cgroupRoot is configured';
  return existsSync(path.join(root, 'cgroup.controllers')) ? '' : `${root} is not of cgroup v2`;
}

/** A cgroup may go between being listed and being asked. */
function idOf(dir: string): bigint | null {
  try {
    return cgroupId(dir);
  } catch (error) {
    if (existsSync(dir)) throw error;
    return null;
  }
}

/** 32 hex digits of each pod's UID → its directory. */
export function podDirs(root: string): Map<string, string> {
  const dirs = new Map<string, string>();
  for (const { podUid, path: dir } of listPodCgroups(root)) {
    const uid = normalPodUid(podUid);
    if (uid !== null) dirs.set(uid, dir);
  }
  return dirs;
}

/**
 * Tells the kernel of pods whose cgroup it did not see made. Nothing is taken out: the kernel forgets a cgroup as it goes, and its number
 * is never given out again. @returns how many were new
 */
export function bindExisting(cgroups: RuntimeMaps['cgroups'], root: string): number {
  let added = 0;
  for (const [uid, dir] of podDirs(root)) {
    const id = idOf(dir);
    if (id === null || cgroups.get(id) === uid) continue;
    cgroups.set(id, uid);
    added += 1;
  }
  return added;
}

/** Directories in a pod's cgroup: one a container, whatever the runtime calls it. */
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

/** `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`; conmon's own cgroup is no container. */
export function isContainerDir(name: string, containerId: string): boolean {
  if (containerId === '') return false;
  if (name === containerId) return true;
  return name.endsWith(`-${containerId}.scope`) && !name.includes('conmon');
}

/** The containers of a pod that run, with their cgroups. */
export function containersIn(podDir: string, containers: PodIdentity['containers']): ContainerRef[] {
  const children = childCgroups(podDir);
  return containers.flatMap(({ name, id }) => {
    const bare = id.slice(id.lastIndexOf('/') + 1);
    const child = children.find((one) => isContainerDir(one.name, bare));
    return child ? [{ name, id, cgroupId: child.id.toString() }] : [];
  });
}
