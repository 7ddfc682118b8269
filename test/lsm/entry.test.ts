// Who put a process into a pod's cgroup: the record of a runtime's process survives every move by a
// pod, a move by a pod binds no process of the host, and only the unified hierarchy counts.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cgroupId } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './harness/doctored.ts';
import { loadOwn } from './harness/loaded.ts';
import {
  acts,
  type Container,
  countsAt,
  LOAD_TIMEOUT_MS,
  type Pod,
  podCgroup,
  prepareSubject,
  Running,
} from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const ROOT = '/sys/fs/cgroup';
const TRY = ['map-plain', '/etc/secret', 'map-plain', '/etc/plain'];
const REFUSED = ['map-plain /etc/secret: EPERM', 'map-plain /etc/plain: ok'];
const PASSED = ['map-plain /etc/secret: ok', 'map-plain /etc/plain: ok'];
const policyOn = (file: string): RuntimePolicyInput => ({
  rules: [{ name: 'secret', action: 'block', file: { paths: [file], operations: ['read'] } }],
});
const POLICY = policyOn('/etc/secret');

const moveByHost = (pid: number, cgroup: string): void => writeFileSync(path.join(cgroup, 'cgroup.procs'), `${pid}`);

/** By a program of a container that has the node's cgroups, as containerd gives them to privileged ones. */
async function moveByPod(container: Container, pid: number, cgroup: string): Promise<void> {
  const procs = path.join('/tmp/cgroup', path.relative(ROOT, cgroup), 'cgroup.procs');
  const lines = await container.acts('cgroup', '.', 'write', procs, `${pid}`);
  expect(lines).toEqual(['cgroup .: ok', `write ${procs}: ok`]);
}

const cgroupOf = (pid: number): string =>
  path.resolve(ROOT, `.${/^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1]}`);

describe('entry', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  let stranger: Pod;
  let attacker: Container;
  let service: Running | null = null;
  beforeEach(() => {
    pod = rig.pod();
    container = withFiles(pod.container());
    stranger = rig.pod();
    attacker = stranger.container();
  });
  afterEach(() => {
    service?.child.kill('SIGKILL');
    service = null;
  });

  function withFiles(one: Container): Container {
    for (const name of ['/etc/secret', '/etc/plain']) writeFileSync(one.image(name), '');
    return one;
  }

  /** A container whose runtime waits between the entry into the cgroup and the first program. */
  async function started(how: string, move: (pid: number) => Promise<void> | void): Promise<string[]> {
    const running = container.start(['/bin/acts', ...TRY], { ENTER: how });
    await running.until(([first]) => first !== undefined);
    const [, pid] = /^entered (\d+)$/.exec(running.lines[0] ?? '') ?? [];
    expect(cgroupOf(Number(pid))).toBe(container.cgroup);
    await move(Number(pid));
    expect(cgroupOf(Number(pid))).toBe(ROOT);
    running.go();
    expect(await running.exit()).toBe(0);
    return running.lines.slice(1);
  }

  it.each([
    ['that joins the cgroup', 'join'],
    ['that starts in the cgroup', 'clone'],
    ['whose program starts from a thread', 'thread'],
  ])('a process of a runtime %s is held, although a pod moves it out before its first program', async (_, how) => {
    pod.apply(POLICY);
    expect(await started(how, (pid) => moveByHost(pid, ROOT))).toEqual(PASSED);
    expect(pod.counts()).toEqual({});
    expect(await started(how, (pid) => moveByPod(attacker, pid, ROOT))).toEqual(REFUSED);
    expect(pod.counts()).toEqual({ secret: 1 });
  });

  it("a process of a runtime that a pod moves into its own cgroup stays the first pod's", async () => {
    pod.apply(POLICY);
    const running = container.start(['/bin/acts', ...TRY], { ENTER: 'join' });
    await running.until(([first]) => first !== undefined);
    await moveByPod(attacker, running.child.pid!, attacker.cgroup);
    running.go();
    await running.exit();
    expect(running.lines.slice(1)).toEqual(REFUSED);
  });

  describe('a service of the host with a mount namespace of its own', () => {
    let dir: string;
    let secret: string;
    beforeEach(() => {
      dir = mkdtempSync(path.join(tmpdir(), 'bailiff-entry-'));
      secret = path.join(dir, 'secret');
      writeFileSync(secret, '');
      pod.apply(policyOn(secret));
    });
    afterEach(() => rmSync(dir, { recursive: true }));

    const read = () => ['map-plain', secret];
    const start = async (): Promise<Running> => {
      const words = ['wait', ...read(), 'wait', ...read(), 'run', acts(), ...read(), ',', 'child', ...read()];
      service = new Running(spawn('unshare', ['--mount', acts(), ...words]));
      await service.line('ready');
      return service;
    };
    /** Outcomes: in the pod's cgroup; then, behind `run`, of a program and a child. */
    const outcomes = ({ lines }: Running) =>
      lines.filter((line) => line.startsWith('map-plain')).map((l) => l.split(': ')[1]);

    it('is not judged where a pod moved it in, nor is a program or a child that it starts there', async () => {
      const running = await start();
      await moveByPod(attacker, running.child.pid!, pod.cgroup);
      expect(cgroupOf(running.child.pid!)).toBe(pod.cgroup);
      running.go();
      await running.until((lines) => lines.filter((line) => line === 'ready').length === 2);
      running.go();
      await running.exit();
      expect(outcomes(running)).toEqual(['ok', 'ok', 'ok', 'ok']);
      expect(pod.counts()).toEqual({});
    });

    it('is judged where the host moved it in, until the host moves it out', async () => {
      const running = await start();
      moveByHost(running.child.pid!, pod.cgroup);
      running.go();
      await running.until((lines) => lines.filter((line) => line === 'ready').length === 2);
      moveByHost(running.child.pid!, ROOT);
      running.go();
      await running.exit();
      expect(outcomes(running)).toEqual(['EPERM', 'ok', 'ok', 'ok']);
      expect(pod.counts()).toEqual({ secret: 1 });
    });

    it('is judged after a pod moves it out of where the host moved it in', async () => {
      const running = await start();
      moveByHost(running.child.pid!, pod.cgroup);
      await moveByPod(attacker, running.child.pid!, ROOT);
      running.go();
      await running.until((lines) => lines.filter((line) => line === 'ready').length === 2);
      running.go();
      await running.exit();
      expect(outcomes(running)).toEqual(['EPERM', 'EPERM', 'EPERM', 'EPERM']);
    });
  });

  it(
    'processes that are older than the programs are recorded, and then held after a move',
    async () => {
      const words = ['/bin/acts', 'wait', ...TRY];
      const [recorded, unrecorded] = [container.start(words), container.start(words)];
      for (const one of [recorded, unrecorded]) await one.line('ready');
      const own = loadOwn('entry', { objectPath: withHooksOnly(EXEC_AND_OPEN_HOOKS) });
      try {
        for (const { cgroupId: id, uid } of [pod, stranger]) own.object.maps.cgroups.set(id, uid);
        moveByHost(unrecorded.child.pid!, ROOT);
        expect(own.object.recordTasks()).toEqual([recorded.child.pid]);
        expect(own.object.recordTasks()).toEqual([]);
        await moveByPod(attacker, recorded.child.pid!, ROOT);
        const set = setOf(POLICY);
        const index = own.nextIndex();
        own.object.maps.pods.set(pod.uid, prepareSubject(own, index, set));
        for (const one of [recorded, unrecorded]) {
          one.go();
          await one.exit();
        }
        expect(recorded.lines.slice(2)).toEqual(REFUSED);
        expect(unrecorded.lines.slice(2)).toEqual(PASSED);
        expect(countsAt(own.object, index, set)).toEqual({ secret: 1 });
      } finally {
        own.release();
      }
    },
    LOAD_TIMEOUT_MS,
  );

  it('cgroups of another hierarchy bind nothing and end no binding, although their ids are the same', () => {
    const { cgroups } = rig.object.maps;
    const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-v1-'));
    execFileSync('mount', ['-t', 'cgroup', '-o', 'none,name=bailiff', 'cgroup', dir]);
    const made = ['kubepods', `kubepods/pod${'b'.repeat(32)}`].map((name) => path.join(dir, name));
    try {
      for (const one of made) mkdirSync(one);
      const id = statSync(made[1]!, { bigint: true }).ino;
      expect(cgroups.get(id)).toBeUndefined();
      // As if a pod's cgroup of the unified hierarchy had this id.
      cgroups.set(id, pod.uid);
      for (const one of made.toReversed()) rmdirSync(one);
      expect(cgroups.get(id)).toBe(pod.uid);
      cgroups.delete(id);
    } finally {
      execFileSync('umount', [dir]);
      rmdirSync(dir);
    }
  });

  it('in the unified hierarchy the same acts bind and end a binding', () => {
    const { cgroups } = rig.object.maps;
    const dir = path.join(ROOT, podCgroup('b'.repeat(32), 'cgroupfs'));
    mkdirSync(dir);
    const id = cgroupId(dir);
    expect(cgroups.get(id)).toBe('b'.repeat(32));
    rmdirSync(dir);
    expect(cgroups.get(id)).toBeUndefined();
  });
});
