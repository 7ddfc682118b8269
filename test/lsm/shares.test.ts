// What pods share in the kernel: a pod that takes as much as it can leaves the others theirs. The
// programs are loaded here with small maps, by a process in a memory cgroup, as a collector is.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BpfMap } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './harness/doctored.ts';
import { loadOwn } from './harness/loaded.ts';
import { type Container, LOAD_TIMEOUT_MS, type Pod, Rig, type Running, removeCgroup } from './harness/rig.ts';

const CGROUPS = '/sys/fs/cgroup';
/** The loading process is in it, so the kernel charges the maps to it. */
const LOADER = path.join(CGROUPS, 'bailiff-loader');
const MAX_TASKS = 600;
/** 28 samples of operations. */
const RING_BYTES = 32_768;
const SOCKETS_OF_A_POD = 16;
const MOUNTS_OF_A_CONTAINER = 4;
const EAGAIN = 11;
/** Above the changes of an idle machine; 9,000 tasks once took 22 MiB. */
const GROWTH_BYTES = 512 << 10;
const SECRET: RuntimePolicyInput = {
  rules: [{ name: 'secret', action: 'block', file: { paths: ['/etc/secret'], operations: ['read'] } }],
};

const crowd = (): string => compileProgram(path.join(import.meta.dirname, 'programs/crowd.c'), { flags: ['-static'] });

/** `kernel` of memory.stat: tasks, their stacks and maps, but not pages of processes. */
function kernelBytes(cgroup: string): number {
  const [, bytes] = /^kernel (\d+)$/m.exec(readFileSync(path.join(cgroup, 'memory.stat'), 'utf8')) ?? [];
  return Number(bytes);
}

interface Outcome {
  readonly made: number;
  readonly refused: number;
  readonly errno: number;
  readonly failed: number;
  readonly first: number;
  readonly last: number;
}

describe('shares', () => {
  let rig: Rig;
  const running: Running[] = [];

  beforeAll(() => {
    crowd();
    for (const dir of ['', 'kubepods', 'kubepods/burstable']) {
      mkdirSync(path.join(CGROUPS, dir), { recursive: true });
      writeFileSync(path.join(CGROUPS, dir, 'cgroup.subtree_control'), '+memory');
    }
    mkdirSync(LOADER);
    const enter = (cgroup: string) => writeFileSync(path.join(cgroup, 'cgroup.procs'), `${process.pid}`);
    const objectPath = withHooksOnly([...EXEC_AND_OPEN_HOOKS, 'socket_post_create']);
    enter(LOADER);
    try {
      rig = new Rig(loadOwn('shares', { objectPath, maxTasks: MAX_TASKS, ringSizeBytes: RING_BYTES }));
    } finally {
      enter(CGROUPS);
    }
  }, LOAD_TIMEOUT_MS);
  afterEach(async () => {
    for (const one of running.splice(0)) {
      one.child.kill('SIGKILL');
      await one.exit();
    }
    await waitFor(() => tasks() === 0, { what: 'the tasks to end', state: tasks });
  });
  afterAll(() => {
    rig?.[Symbol.dispose]();
    removeCgroup(LOADER);
  });

  const tasks = (): number => rig.object.maps.fill()['rt_tasks']?.entries ?? -1;
  const losses = (): Record<string, number> =>
    Object.fromEntries(Object.entries(rig.object.maps.losses()).map(([name, n]) => [name, Number(n)]));
  const count = (name: string): number => {
    using map = BpfMap.openPinned(path.join(rig.loaded.pinDir, 'runtime/maps', name));
    return map.count();
  };

  function podUnder(policy: RuntimePolicyInput): { pod: Pod; container: Container } {
    const pod = rig.pod();
    const container = pod.container();
    container.install(crowd(), '/bin/crowd');
    for (const name of ['secret', 'plain']) writeFileSync(container.image(`/etc/${name}`), name);
    pod.apply(policy);
    return { pod, container };
  }

  type Kind = 'threads' | 'children' | 'sockets';

  /** Starts crowd.c, which holds what it got until the end of the test. */
  function start(container: Container, kind: Kind, number: number, ...wait: 'wait'[]): Running {
    const one = container.start(['/bin/crowd', kind, `${number}`, '/etc/plain', ...wait]);
    running.push(one);
    return one;
  }

  async function outcomeOf(one: Running): Promise<Outcome> {
    const report = () => one.lines.find((line) => line.startsWith('made'));
    await one.until(() => report() !== undefined);
    const words = (report() ?? '').split(' ');
    const pairs = Array.from({ length: words.length / 2 }, (_, i) => [words[2 * i], Number(words[2 * i + 1])]);
    return Object.fromEntries(pairs) as unknown as Outcome;
  }

  const take = (container: Container, kind: Kind, number: number): Promise<Outcome> =>
    outcomeOf(start(container, kind, number));

  it('tasks - a pod gets half of the free ones, and no fork of another pod fails', async () => {
    const [attacker, other] = [podUnder(SECRET), podUnder(SECRET)];
    const [from, charged, paid] = [losses(), kernelBytes(LOADER), kernelBytes(attacker.pod.cgroup)];
    const most = MAX_TASKS / 2;
    const many = await take(attacker.container, 'threads', 3 * MAX_TASKS);
    // The crowd's first task counts too.
    expect(many).toMatchObject({ made: most - 1, refused: 3 * MAX_TASKS - most + 1, errno: EAGAIN, failed: 0 });
    const few = await take(other.container, 'children', most / 2 - 2);
    expect(few).toMatchObject({ made: most / 2 - 2, refused: 0 });
    expect(await other.container.acts('map-plain', '/etc/secret', 'map-plain', '/etc/plain')).toEqual([
      'map-plain /etc/secret: EPERM',
      'map-plain /etc/plain: ok',
    ]);
    expect(losses()['task-share']! - from['task-share']!).toBe(many.refused);
    expect(losses()['no-state']).toBe(from['no-state']);
    expect(kernelBytes(LOADER) - charged).toBeLessThan(GROWTH_BYTES);
    // The pod pays for its tasks: a stack of 16 KiB each.
    expect(kernelBytes(attacker.pod.cgroup) - paid).toBeGreaterThan(many.made * 16_384);
  });

  it('control - without shares one pod takes all, and forks of another pod fail', async () => {
    const settings = rig.object.maps.settings();
    const from = losses()['no-state']!;
    rig.object.maps.setSettings({ ...settings, maxTasks: 0x7fff_ffff });
    try {
      const [attacker, other] = [podUnder(SECRET), podUnder(SECRET)];
      const waiting = start(other.container, 'children', 50, 'wait');
      await waiting.line('ready');
      expect((await take(attacker.container, 'threads', 3 * MAX_TASKS)).made).toBe(MAX_TASKS - 2);
      waiting.go();
      expect(await outcomeOf(waiting)).toMatchObject({ made: 0, refused: 50, errno: EAGAIN });
      expect(losses()['no-state']).toBeGreaterThan(from);
    } finally {
      rig.object.maps.setSettings(settings);
    }
  });

  it('first program - if no state is free, it is refused, and runs again when one is', async () => {
    const settings = rig.object.maps.settings();
    const { container } = podUnder(SECRET);
    const from = losses()['no-state']!;
    rig.object.maps.setSettings({ ...settings, maxTasks: 0 });
    const refused = await container.acts('map-plain', '/etc/secret');
    rig.object.maps.setSettings(settings);
    expect(refused).toEqual(['/bin/acts: Resource temporarily unavailable', 'exit 121']);
    expect(losses()['no-state']! - from).toBe(1);
    expect(await container.acts('map-plain', '/etc/secret')).toEqual(['map-plain /etc/secret: EPERM']);
  });

  it('sockets - the newest of each pod are recorded, however many another pod opens', async () => {
    const [attacker, other] = [podUnder(SECRET), podUnder(SECRET)];
    const makers = ({ first, last }: Outcome): string[] =>
      Array.from({ length: last - first + 1 }, (_, i) => rig.object.maps.socketMaker(BigInt(first + i))?.pod ?? '');
    const few = await take(other.container, 'sockets', SOCKETS_OF_A_POD);
    expect(makers(few)).toEqual(Array(SOCKETS_OF_A_POD).fill(other.pod.uid));
    const many = await take(attacker.container, 'sockets', 9_000);
    expect(many.made).toBe(9_000);
    expect(makers(few)).toEqual(Array(SOCKETS_OF_A_POD).fill(other.pod.uid));
    // Its own older records are replaced.
    const own = makers(many);
    expect(own.indexOf(attacker.pod.uid)).toBe(own.length - SOCKETS_OF_A_POD);
    expect(own.slice(-SOCKETS_OF_A_POD)).toEqual(Array(SOCKETS_OF_A_POD).fill(attacker.pod.uid));
    expect(count('rt_sockets')).toBe(2 * SOCKETS_OF_A_POD);
  });

  it('samples - a pod that violates many rules at once leaves room for the first sample of another', async () => {
    const paths = Array.from({ length: 40 }, (_, i) => `/etc/rule-${i}`);
    const rules = paths.map((name, i) => ({
      name: `rule-${i}`,
      action: 'block' as const,
      file: { paths: [name], operations: ['read' as const] },
    }));
    const [attacker, other] = [podUnder({ rules }), podUnder(SECRET)];
    for (const name of paths) writeFileSync(attacker.container.image(name), '');
    rig.takeSamples();
    const from = losses()['ring-full']!;
    await attacker.container.acts(...paths.flatMap((name) => ['map-plain', name]));
    await other.container.acts('map-plain', '/etc/secret');
    const samples = rig.takeSamples();
    const lost = losses()['ring-full']! - from;
    expect(samples.filter(({ pod }) => pod === other.pod.uid)).toMatchObject([{ subject: '/etc/secret', first: true }]);
    expect(attacker.pod.counts()).toEqual(Object.fromEntries(rules.map(({ name }) => [name, 1])));
    expect(lost).toBeGreaterThan(0);
    expect(samples.length - 1 + lost).toBe(paths.length);
    // The next violation of the pod is sampled without a token.
    await attacker.container.acts('map-plain', paths[0]!);
    expect(rig.takeSamples().length).toBe(1);
  });

  it('mount namespaces - each container has the records of a few, until its end', async () => {
    const [attacker, other] = [podUnder(SECRET), podUnder(SECRET)];
    const from = count('rt_mounts');
    await other.container.acts('map-plain', '/etc/plain');
    for (let i = 0; i < 2 * MOUNTS_OF_A_CONTAINER; i++) await attacker.container.acts('map-plain', '/etc/plain');
    expect(count('rt_mounts') - from).toBe(1 + MOUNTS_OF_A_CONTAINER);
    rig.end(attacker.pod);
    expect(count('rt_mounts') - from).toBe(1);
  });

  it('end - nothing remains of a pod whose cgroup is gone', async () => {
    const maps = ['rt_cgroups', 'rt_born', 'rt_mounts', 'rt_shares', 'rt_sockets'];
    const before = maps.map(count);
    const { pod, container } = podUnder(SECRET);
    await take(container, 'sockets', 3);
    expect(maps.map(count)).toEqual(before.map((entries, i) => entries + [1, 1, 1, 1, 3][i]!));
    running.splice(0)[0]?.child.kill('SIGKILL');
    rig.end(pod);
    expect(maps.map(count)).toEqual(before);
  });
});
