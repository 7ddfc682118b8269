// The pod of a task: the kernel binds it when it creates the cgroup, the first program arms it, and
// it never leaves it again.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { BpfMap, cgroupId } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import {
  acts,
  Container,
  countsAt,
  type Driver,
  type Pod,
  podCgroup,
  prepareSubject,
  removeCgroup,
} from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const POLICY: RuntimePolicyInput = {
  rules: [{ name: 'denied', action: 'block', execute: { paths: ['/bin/denied'], operations: ['execute'] } }],
};
const TRY = ['run', '/bin/denied', ',', 'run', '/bin/fine', ','];
const REFUSED = ['run /bin/denied: EPERM', 'run /bin/fine: ok'];
const PASSED = ['run /bin/denied: ok', 'run /bin/fine: ok'];

/** Ways that a pod may try to escape: acts before the attempt. */
const WAYS: readonly { name: string; words: string[] }[] = [
  { name: 'a mount namespace of its own', words: ['unshare-mnt'] },
  { name: 'a user namespace of its own', words: ['unshare-user'] },
  { name: 'a double fork with a session of its own', words: ['double-fork'] },
  { name: "another cgroup, outside of the pod's", words: ['cgroup', 'escaped'] },
  { name: 'a cgroup that it names like another pod', words: ['cgroup', `pod${'a'.repeat(32)}`] },
];

describe('identity', () => {
  const rig = useRig();

  const containerOf = (pod: Pod): Container => {
    const container = pod.container();
    for (const name of ['/bin/denied', '/bin/fine']) container.install(acts(), name);
    return container;
  };

  it.each<Driver>(['cgroupfs', 'systemd'])(
    'cgroup - the kernel binds a pod by the name that the %s driver gives',
    (driver) => {
      const pod = rig.pod(driver);
      const container = pod.container();
      expect(rig.object.maps.cgroups.get(pod.cgroupId)).toBe(pod.uid);
      expect(rig.object.maps.born(container.cgroupId)).toBeGreaterThan(0n);
      expect(container.cgroup.startsWith(pod.cgroup)).toBe(true);
    },
  );

  it.each<Driver>(['cgroupfs', 'systemd'])(
    'cgroup - removing one removes its entry, and a later pod of the same UID starts without state, %s',
    async (driver) => {
      const uid = randomBytes(16).toString('hex');
      const dir = path.join('/sys/fs/cgroup', podCgroup(uid, driver));
      const { maps } = rig.object;
      const life = () => {
        mkdirSync(dir, { recursive: true });
        const container = new Container(dir, 0);
        for (const name of ['/bin/denied', '/bin/fine']) container.install(acts(), name);
        const end = () => {
          container[Symbol.dispose]();
          removeCgroup(dir);
        };
        return { container, id: cgroupId(dir), end };
      };
      const index = rig.loaded.nextIndex();
      const set = setOf(POLICY);

      const first = life();
      expect(maps.cgroups.get(first.id)).toBe(uid);
      maps.pods.set(uid, prepareSubject(rig.loaded, index, set));
      expect(await first.container.acts(...TRY)).toEqual(REFUSED);
      expect(countsAt(rig.object, index, set)).toEqual({ denied: 1 });
      first.end();
      expect(maps.cgroups.get(first.id)).toBeUndefined();
      expect(maps.cgroups.entries().filter(([, bound]) => bound === uid)).toEqual([]);
      // User space removes this entry after the cgroup is gone.
      maps.pods.delete(uid);

      const second = life();
      try {
        expect(second.id).not.toBe(first.id);
        expect(maps.cgroups.get(second.id)).toBe(uid);
        expect(await second.container.acts(...TRY)).toEqual(PASSED);
        maps.pods.set(uid, prepareSubject(rig.loaded, index, set));
        expect(await second.container.acts(...TRY)).toEqual(REFUSED);
        expect(countsAt(rig.object, index, set)).toEqual({ denied: 1 });
      } finally {
        maps.pods.delete(uid);
        second.end();
      }
      expect(maps.cgroups.get(second.id)).toBeUndefined();
    },
  );

  it.each<Driver>(['cgroupfs', 'systemd'])('arming - the first program of a container is held, %s', async (driver) => {
    const pod = rig.pod(driver);
    const container = containerOf(pod);
    expect(await container.acts(...TRY)).toEqual(PASSED);
    pod.apply(POLICY);
    expect(await container.acts(...TRY)).toEqual(REFUSED);
  });

  it("arming - a runtime's own steps are counted and not judged", async () => {
    const pod = rig.pod();
    const container = containerOf(pod);
    pod.apply({ defaultPosture: { kernel: 'block', capability: 'block', network: 'block' } });
    const before = rig.object.maps.losses().unarmed;
    expect(await container.acts('run', '/bin/fine')).toEqual(['run /bin/fine: ok']);
    expect(rig.object.maps.losses().unarmed).toBeGreaterThan(before);
    expect(pod.counts()).toEqual({});
  });

  describe('ways out', () => {
    let pod: Pod;
    let container: Container;
    beforeEach(() => {
      pod = rig.pod();
      container = containerOf(pod);
    });

    it.each(WAYS)('escape - $name does not help', async ({ words }) => {
      const free = await container.acts(...words, ...TRY);
      expect(free.slice(-2)).toEqual(PASSED);
      pod.apply(POLICY);
      const held = await container.acts(...words, ...TRY);
      expect(held.slice(0, -2)).toEqual(free.slice(0, -2));
      expect(held.slice(-2)).toEqual(REFUSED);
    });

    it("escape - the host's mount namespace does not help: the task's own rules stay", async () => {
      const policy: RuntimePolicyInput = {
        rules: [{ name: 'denied', action: 'block', execute: { paths: ['/usr/bin/true'], operations: ['execute'] } }],
      };
      const words = ['setns', '1', 'run', '/usr/bin/true', ',', 'run', '/usr/bin/env', 'true', ','];
      expect(await container.acts(...words)).toEqual(['setns 1: ok', 'run /usr/bin/true: ok', 'run /usr/bin/env: ok']);
      pod.apply(policy);
      const held = await container.acts(...words);
      expect(held.filter((line) => !line.startsWith('env:'))).toEqual([
        'setns 1: ok',
        'run /usr/bin/true: EPERM',
        'run /usr/bin/env: exit 126',
      ]);
    });
  });

  it('pods - one policy does not reach another pod, nor the host', async () => {
    const [held, free] = [rig.pod(), rig.pod()];
    const [a, b] = [containerOf(held), containerOf(free)];
    held.apply(POLICY);
    expect(await a.acts(...TRY)).toEqual(REFUSED);
    expect(await b.acts(...TRY)).toEqual(PASSED);
  });

  it('orphan - an armed task whose pod has no entry is refused', async () => {
    const pod = rig.pod();
    const container = containerOf(pod);
    pod.apply(POLICY);
    const running = container.start(['/bin/acts', ...TRY, 'wait', ...TRY]);
    await running.line('ready');
    rig.object.maps.pods.delete(pod.uid);
    running.go();
    await running.exit();
    expect(running.lines).toEqual([...REFUSED, 'ready', 'wait : ok', 'run /bin/denied: EPERM', 'run /bin/fine: EPERM']);
    expect(rig.object.maps.losses().orphan).toBeGreaterThan(0n);
  });

  it('state - a task that ended leaves no state', async () => {
    using states = BpfMap.openPinned(path.join(rig.loaded.pinDir, 'runtime/maps/rt_tasks'));
    // The kernel frees a task a moment after its end; so it does with those of earlier tests.
    let before = -1;
    const isSettled = () => {
      const last = before;
      before = states.count();
      return before === last;
    };
    await waitFor(isSettled, { what: 'earlier tasks to be freed', intervalMs: 50, state: () => before });
    const known = (more: number) =>
      waitFor(() => states.count() === before + more && rig.object.maps.fill()['rt_tasks']?.entries === before + more, {
        what: `${more} more states`,
        timeoutMs: 1_000,
        state: () => states.count(),
      });
    const pod = rig.pod();
    const container = containerOf(pod);
    pod.apply(POLICY);
    const running = container.start(['/bin/acts', ...TRY, 'wait', ...TRY]);
    await running.line('ready');
    await known(1);
    running.go();
    await running.exit();
    expect(running.lines).toEqual([...REFUSED, 'ready', 'wait : ok', ...REFUSED]);
    await known(0);
  });

  it('break-glass - until its time a denial is counted and passes', async () => {
    const pod = rig.pod();
    const container = containerOf(pod);
    pod.apply(POLICY);
    rig.object.maps.pods.set(pod.uid, { ...pod.subject(), auditUntilNs: 0xffff_ffff_ffff_ffffn });
    expect(await container.acts(...TRY)).toEqual(PASSED);
    expect(pod.counts()).toEqual({ denied: 1 });
    rig.object.maps.pods.set(pod.uid, { ...pod.subject(), auditUntilNs: 0n });
    expect(await container.acts(...TRY)).toEqual(REFUSED);
    expect(pod.counts()).toEqual({ denied: 2 });
  });
});
