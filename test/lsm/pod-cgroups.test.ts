// The cgroups that belong to a pod: those that a kubelet creates, at a kubelet's places. A cgroup
// that a container creates belongs to none, whatever its place and name.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { cgroupId } from '@bailiff/bpf';
import { afterEach, describe, expect, it } from 'vitest';
import { type Container, type Driver, podCgroup, removeCgroup } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const ROOT = '/sys/fs/cgroup';
const uid = (): string => randomBytes(16).toString('hex');
const DEEP = Array.from({ length: 12 }, (_, i) => `level-${i}`);

describe('pod cgroups', () => {
  const rig = useRig();
  const made: string[] = [];
  afterEach(() => {
    for (const dir of made.splice(0).reverse()) removeCgroup(path.join(ROOT, dir));
  });

  const bound = (): number => rig.object.maps.cgroups.entries().length;
  const refused = (): number => Number(rig.object.maps.losses()['cgroup-refused']);

  /** Created by a process of the container, below the root of all cgroups. */
  async function makeInside(container: Container, dirs: readonly string[]): Promise<void> {
    made.push(...dirs);
    const lines = await container.acts('cgroup', '.', ...dirs.flatMap((dir) => ['mkdir', `/tmp/cgroup/${dir}`]));
    expect(lines).toEqual(['cgroup .: ok', ...dirs.map((dir) => `mkdir /tmp/cgroup/${dir}: ok`)]);
  }

  it.each([
    ['at the root', () => [`pod${uid()}`]],
    ['beside the pods of the kubelet', () => [podCgroup(uid(), 'cgroupfs')]],
    ['a hundred of them', () => Array.from({ length: 100 }, () => `pod${uid()}`)],
  ])('a container that creates cgroups named like pods binds none: %s', async (_name, dirs) => {
    const container = rig.pod().container();
    const [before, made] = [bound(), dirs()];
    const [from, free] = [refused(), 'cgroup-of-its-own'];
    await makeInside(container, [...made, free]);
    expect([bound(), refused() - from]).toEqual([before, made.length]);
  });

  it('nor far below its own', async () => {
    const container = rig.pod().container();
    const own = path.relative(ROOT, container.cgroup);
    const before = bound();
    const levels = DEEP.map((_, i) => path.join(own, ...DEEP.slice(0, i + 1)));
    await makeInside(container, [...levels, path.join(own, ...DEEP, `pod${uid()}`)]);
    expect(bound()).toBe(before);
  });

  it.each([
    ['at the root', (name: string) => [name]],
    ['in a slice of a user', (name: string) => ['bailiff-user.slice', `bailiff-user.slice/${name}`]],
    ['below a name that only contains kubepods', (name: string) => ['notkubepods', `notkubepods/${name}`]],
    ['three levels below kubepods', (name: string) => ['kubepods/burstable/more', `kubepods/burstable/more/${name}`]],
  ])('one of the host at a place that no kubelet uses binds nothing: %s', (_name, place) => {
    mkdirSync(path.join(ROOT, 'kubepods/burstable'), { recursive: true });
    const [before, from] = [bound(), refused()];
    for (const dir of place(`pod${uid()}`)) {
      mkdirSync(path.join(ROOT, dir));
      made.push(dir);
    }
    expect([bound(), refused() - from]).toEqual([before, 1]);
  });

  it.each<readonly [string, (id: string) => string]>([
    ['cgroupfs, guaranteed', (id) => `kubepods/pod${id}`],
    ['cgroupfs, burstable', (id) => podCgroup(id, 'cgroupfs' satisfies Driver)],
    ['systemd, burstable', (id) => podCgroup(id, 'systemd' satisfies Driver)],
    ['systemd, guaranteed', (id) => `kubepods.slice/kubepods-pod${id}.slice`],
    [
      'a kubelet with a root of its own',
      (id) => `bailiff.slice/bailiff-kubepods.slice/bailiff-kubepods-pod${id}.slice`,
    ],
    ['a kubelet in a container', (id) => `bailiff-node/kubelet/kubepods/besteffort/pod${id}`],
  ])('one of a kubelet binds its pod: %s', (_name, place) => {
    const id = uid();
    const dir = place(id);
    mkdirSync(path.join(ROOT, dir), { recursive: true });
    const levels = dir.split('/').map((_, i, parts) => parts.slice(0, i + 1).join('/'));
    // Levels that other pods of this run use are left.
    made.push(...levels.filter((level) => level.includes('bailiff') || level === dir));
    expect(rig.object.maps.cgroups.get(cgroupId(path.join(ROOT, dir)))).toBe(id);
  });
});
