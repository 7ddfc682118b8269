import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { listPodCgroups, oldestProcess, podStartMs, podsCgroupId, podUidOf, processesIn } from './pod-cgroups.ts';

const uid = '0b6f5c1e-1111-4000-8000-0123456789ab';

describe('pod cgroups', () => {
  it.each([
    [`pod${uid}`, uid],
    [`kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice`, uid],
    [`kubepods-pod${uid.replaceAll('-', '_')}.slice`, uid],
    ['kubepods.slice', null],
    ['podman', null],
    ['pod1234', null],
    [`pod${uid.toUpperCase()}`, null],
  ])('%s', (folder, expected) => expect(podUidOf(folder)).toBe(expected));

  it('trees of both drivers - searched; others are not', () => {
    const root = temporaryDirectory();
    const other = uid.replace('ab', 'cd');
    mkdirSync(path.join(root, 'kubepods', 'burstable', `pod${uid}`, 'c1'), { recursive: true });
    mkdirSync(
      path.join(
        root,
        'kubepods.slice',
        'kubepods-besteffort.slice',
        `kubepods-besteffort-pod${other.replaceAll('-', '_')}.slice`,
      ),
      { recursive: true },
    );
    mkdirSync(path.join(root, 'system.slice', `pod${uid}`), { recursive: true });
    expect(
      listPodCgroups(root)
        .map((c) => c.podUid)
        .sort(),
    ).toEqual([uid, other].sort());
    expect(listPodCgroups(path.join(root, 'nothing'))).toEqual([]);
  });

  it('the cgroup of all pods - the oldest with pods, below the root or the root itself; only of cgroup v2', () => {
    const root = temporaryDirectory();
    const made = ['kubepods', 'kubepods.slice', 'kubelet-kubepods.slice', 'system.slice'];
    for (const dir of made) mkdirSync(path.join(root, dir), { recursive: true });
    for (const dir of made.slice(1))
      mkdirSync(path.join(root, dir, 'kubepods-burstable.slice', `pod${uid}`), { recursive: true });
    const ageOf = (dir: string) => BigInt(5 + made.indexOf(path.basename(dir)));
    expect(podsCgroupId(root, ageOf)).toBe(0n);
    for (const dir of ['', made[1] as string]) writeFileSync(path.join(root, dir, 'cgroup.controllers'), '');
    expect(podsCgroupId(root, ageOf)).toBe(6n);
    expect(podsCgroupId(path.join(root, 'kubepods.slice'), ageOf)).toBe(6n);
    expect(podsCgroupId('')).toBe(0n);
  });

  it.each([
    ['burstable', 'besteffort'],
    ['besteffort', 'burstable'],
  ])('two with the same UID - the older one counts: %s before %s', (older, newer) => {
    const root = temporaryDirectory();
    const at = (qos: string) => path.join(root, 'kubepods', qos, `pod${uid}`);
    for (const qos of [older, newer]) mkdirSync(at(qos), { recursive: true });
    const ageOf = (dir: string) => (dir === at(older) ? 5n : 6n);
    expect(listPodCgroups(root, ageOf)).toEqual([{ podUid: uid, path: at(older) }]);
  });

  it('own cgroupRoot of the kubelet - found with both drivers', () => {
    const root = temporaryDirectory();
    const slice = `kubelet-kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice`;
    mkdirSync(path.join(root, 'kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice', slice), {
      recursive: true,
    });
    mkdirSync(path.join(root, 'kubelet', 'kubepods', 'besteffort', `pod${uid}`), { recursive: true });
    for (const own of ['kubelet.slice', 'kubelet'])
      expect(listPodCgroups(path.join(root, own)).map(({ podUid }) => podUid)).toEqual([uid]);
    // Without that root nothing is found.
    expect(listPodCgroups(root)).toEqual([]);
  });

  it('oldest process - found among live and ended ones', async () => {
    const root = temporaryDirectory();
    const child = spawn('sleep', ['60']);
    try {
      await new Promise((resolve) => child.once('spawn', resolve));
      writeFileSync(path.join(root, 'cgroup.procs'), `${child.pid}\n`);
      mkdirSync(path.join(root, 'c1'));
      writeFileSync(path.join(root, 'c1', 'cgroup.procs'), `4194300\n${process.pid}\n`);
      expect(oldestProcess(root)).toBe(process.pid);
      expect(oldestProcess(path.join(root, 'none'))).toBeNull();
      const uid = '00000000-0000-4000-8000-000000000001';
      const pod = path.join(root, 'kubepods', `pod${uid}`);
      mkdirSync(pod, { recursive: true });
      expect(podStartMs(root, uid)).toBeNull();
      writeFileSync(path.join(pod, 'cgroup.procs'), `${process.pid}\n`);
      expect(podStartMs(root, uid, 1_000_000)).toBeCloseTo(1_000_000 - process.uptime() * 1_000, -4);
      // A pod starts no older process: while the oldest is there, no other one is read.
      const dir = path.join(root, 'c2');
      const run = (...pids: (number | undefined)[]) =>
        writeFileSync(path.join(dir, 'cgroup.procs'), `${pids.join('\n')}\n`);
      mkdirSync(dir);
      run(child.pid);
      expect(oldestProcess(dir)).toBe(child.pid);
      run(process.pid, child.pid);
      expect(oldestProcess(dir)).toBe(child.pid);
      run(process.pid);
      expect(oldestProcess(dir)).toBe(process.pid);
      run();
      expect(oldestProcess(dir)).toBeNull();
    } finally {
      child.kill();
    }
  });

  it('a cgroup so deep that it has no path - the processes beside it are found', () => {
    const root = temporaryDirectory();
    const [before, name] = [process.cwd(), 'x'.repeat(200)];
    writeFileSync(path.join(root, 'cgroup.procs'), `${process.pid}\n`);
    let depth = 0;
    try {
      process.chdir(root);
      for (; depth < 22; depth++) {
        mkdirSync(name);
        process.chdir(name);
      }
      expect(oldestProcess(root)).toBe(process.pid);
    } finally {
      for (; depth > 0; depth--) {
        process.chdir('..');
        rmdirSync(name);
      }
      process.chdir(before);
    }
  });

  it('a cgroup that its container made unreadable - the processes beside it are found', () => {
    const root = temporaryDirectory();
    chmodSync(root, 0o755);
    writeFileSync(path.join(root, 'cgroup.procs'), `${process.pid}\n`);
    mkdirSync(path.join(root, 'c1', 'own'), { recursive: true });
    chmodSync(path.join(root, 'c1', 'own'), 0o700);
    // The collector has no capability to read it.
    process.seteuid?.(65_534);
    try {
      expect(oldestProcess(root)).toBe(process.pid);
    } finally {
      process.seteuid?.(0);
    }
  });

  it('more cgroups than are read - those of all containers are, whatever one makes in its own', () => {
    const root = temporaryDirectory();
    const add = (pid: number, ...names: string[]) => {
      const dir = path.join(root, ...names);
      mkdirSync(dir, { recursive: true });
      writeFileSync(path.join(dir, 'cgroup.procs'), `${pid}\n`);
    };
    for (let number = 0; number < 1_500; number++) add(10_000 + number, 'c1', `own-${number}`);
    add(1, 'c0');
    add(2, 'c2');
    const pids = [...processesIn(root)];
    expect(pids).toEqual(expect.arrayContaining([1, 2]));
    expect(pids.length).toBeLessThan(1_024);
  });
});
