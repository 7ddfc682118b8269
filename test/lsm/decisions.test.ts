// Decisions beyond the match of one rule: several rules, their programs, the container,
// break-glass.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { compileProgram } from '../vm/compile.ts';
import { acts, type Container, countsAt, type Pod, prepareSubject, Running } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { programPath } from './operations.ts';

type Rules = NonNullable<RuntimePolicyInput['rules']>;
const ADDRESS = { cidrs: ['127.9.0.1/32'], operations: ['send' as const] };
const SEND = 'send,udp,127.9.0.1,100';

const rig = useRig();
let pod: Pod;
let container: Container;
beforeEach(() => {
  pod = rig.pod();
  container = pod.container();
  equip(container);
});

function equip(to: Container): void {
  for (const name of ['net-ops', 'other-net-ops']) to.install(programPath('net-ops'), `/bin/${name}`);
  for (const name of ['kernel-ops', 'other-kernel-ops']) to.install(programPath('kernel-ops'), `/bin/${name}`);
}

/** The outcome of each operation of a program, without its name. */
const printed = async (of: Container, ...words: string[]): Promise<string[]> =>
  (await of.run(words)).map((line) => line.split(' ').at(-1) as string).slice(0, -1);

describe('decisions', () => {
  it('audit beside block - the operation is refused, and both are counted', async () => {
    const rules: Rules = [
      { name: 'net-seen', action: 'audit', network: ADDRESS },
      { name: 'net-denied', action: 'block', network: ADDRESS },
      { name: 'bpf-seen', action: 'audit', kernel: { operations: ['bpf'] } },
      { name: 'bpf-denied', action: 'block', kernel: { operations: ['bpf'] } },
      { name: 'run-seen', action: 'audit', execute: { directories: ['/bin'], operations: ['execute'] } },
      { name: 'run-denied', action: 'block', execute: { paths: ['/bin/other-net-ops'], operations: ['execute'] } },
    ];
    pod.apply({ rules });
    expect(await printed(container, '/bin/net-ops', SEND)).toEqual(['EPERM']);
    expect(await printed(container, '/bin/kernel-ops', 'bpf')).toEqual(['EPERM']);
    expect(await container.acts('run', '/bin/other-net-ops')).toEqual(['run /bin/other-net-ops: EPERM']);
    const counts = { 'net-seen': 1, 'net-denied': 1, 'bpf-seen': 1, 'bpf-denied': 1, 'run-seen': 4, 'run-denied': 1 };
    expect(pod.counts()).toEqual(counts);
  });

  it('audit beside allow - passes under a blocking posture, and is counted', async () => {
    const rules: Rules = [
      { name: 'fine', action: 'allow', kernel: { operations: ['bpf'] } },
      { name: 'seen', action: 'audit', kernel: { operations: ['bpf'] } },
    ];
    pod.apply({ rules, defaultPosture: { kernel: 'block' } });
    expect(await printed(container, '/bin/kernel-ops', 'bpf', 'perf')).toEqual(['ok', 'EPERM']);
    expect(pod.counts()).toEqual({ seen: 1, 'extra-9': 1 });
  });

  it('fromSource - holds for sockets, addresses, capabilities and the kernel of the named program alone', async () => {
    const from = (name: string) => ({ action: 'block' as const, fromSource: [{ path: `/bin/${name}` }] });
    const rules: Rules = [
      { name: 'address', ...from('net-ops'), network: ADDRESS },
      { name: 'socket', ...from('net-ops'), socket: { families: ['inet'], types: ['raw'] } },
      { name: 'admin', ...from('kernel-ops'), capabilities: ['sys_admin'] },
      { name: 'kernel', ...from('kernel-ops'), kernel: { operations: ['bpf'] } },
    ];
    pod.apply({ rules });
    const net = [SEND, 'socket,2,3,1'];
    const kernel = ['hostname', 'bpf'];
    expect(await printed(container, '/bin/net-ops', ...net)).toEqual(['EPERM', 'EPERM']);
    expect(await printed(container, '/bin/other-net-ops', ...net)).toEqual(['ok', 'ok']);
    expect(await printed(container, '/bin/kernel-ops', ...kernel)).toEqual(['EPERM', 'EPERM']);
    expect(await printed(container, '/bin/other-kernel-ops', ...kernel)).toEqual(['ok', 'ok']);
    expect(pod.counts()).toEqual({ address: 1, socket: 1, admin: 1, kernel: 1 });
  });

  it('break-glass - sockets, addresses, capabilities and the kernel pass and are counted until its time', async () => {
    const rules: Rules = [
      { name: 'address', action: 'kill', network: ADDRESS },
      { name: 'socket', action: 'block', socket: { families: ['inet'], types: ['raw'] } },
      { name: 'admin', action: 'block', capabilities: ['sys_admin'] },
    ];
    pod.apply({ rules, defaultPosture: { kernel: 'block' } });
    rig.object.maps.pods.set(pod.uid, { ...pod.subject(), auditUntilNs: 0xffff_ffff_ffff_ffffn });
    expect(await printed(container, '/bin/net-ops', SEND, 'socket,2,3,1')).toEqual(['ok', 'ok']);
    expect(await printed(container, '/bin/kernel-ops', 'hostname', 'bpf')).toEqual(['ok', 'ok']);
    expect(pod.counts()).toEqual({ address: 1, socket: 1, admin: 1, 'extra-9': 1 });
    rig.object.maps.pods.set(pod.uid, { ...pod.subject(), auditUntilNs: 1n });
    expect(await printed(container, '/bin/net-ops', 'socket,2,3,1')).toEqual(['EPERM']);
    expect(await printed(container, '/bin/kernel-ops', 'hostname', 'bpf')).toEqual(['EPERM', 'EPERM']);
    expect(await container.run(['/bin/net-ops', SEND])).toEqual(['exit SIGKILL']);
    expect(pod.counts()).toEqual({ address: 2, socket: 2, admin: 2, 'extra-9': 2 });
  });
});

describe('containers of one pod', () => {
  it("set - one has its own, the other the pod's, and each counts in its own cells", async () => {
    const other = pod.container();
    equip(other);
    const block = (operation: 'bpf' | 'perf-event'): RuntimePolicyInput => ({
      rules: [{ name: operation, action: 'block', kernel: { operations: [operation] } }],
    });
    pod.apply(block('bpf'));
    const index = rig.loaded.nextIndex();
    const set = setOf(block('perf-event'));
    rig.object.maps.containers.set(other.cgroupId, prepareSubject(rig.loaded, index, set));
    // The pod's entry does not yet say that its containers differ.
    expect(await printed(other, '/bin/kernel-ops', 'bpf', 'perf')).toEqual(['EPERM', 'ok']);
    rig.object.maps.pods.set(pod.uid, { ...pod.subject(), hasContainers: true });
    expect(await printed(other, '/bin/kernel-ops', 'bpf', 'perf')).toEqual(['ok', 'EPERM']);
    expect(await printed(container, '/bin/kernel-ops', 'bpf', 'perf')).toEqual(['EPERM', 'ok']);
    expect(pod.counts()).toEqual({ bpf: 2 });
    expect(countsAt(rig.object, index, set)).toEqual({ 'perf-event': 1 });
    rig.object.maps.containers.delete(other.cgroupId);
  });
});

describe('chain of programs', () => {
  /** `levels` copies of acts, each started by the one before; the last one tries. */
  const nested = (first: string, levels: number): string[] => [
    ...['run', first],
    ...Array.from({ length: levels }, (_, i) => ['run', `/bin/level-${i}`]).flat(),
    ...['run', '/bin/child', ','],
  ];
  const rule = (action: 'block' | 'allow') => ({
    name: 'from-parent',
    action,
    fromSource: [{ path: '/bin/parent', children: true }],
    execute: { paths: ['/bin/child'], operations: ['execute' as const] },
  });
  /** Result of the last program. */
  const tried = async (first: string, levels: number) =>
    (await container.acts(...nested(first, levels))).find((line) => line.startsWith('run /bin/child:'));
  beforeEach(() => {
    for (const name of ['parent', 'stranger', 'child', ...Array.from({ length: 9 }, (_, i) => `level-${i}`)])
      container.install(acts(), `/bin/${name}`);
  });

  it('denial - holds eight programs deep, and deeper for every program, as the parent may be above', async () => {
    pod.apply({ rules: [rule('block')] });
    expect(await tried('/bin/parent', 5)).toBe('run /bin/child: EPERM');
    expect(await tried('/bin/stranger', 5)).toBe('run /bin/child: ok');
    expect(await tried('/bin/parent', 9)).toBe('run /bin/child: EPERM');
    expect(await tried('/bin/stranger', 9)).toBe('run /bin/child: EPERM');
    expect(pod.counts()).toEqual({ 'from-parent': 3 });
  });

  it('allow - holds within the chain, and for no task with a cut chain', async () => {
    const others = ['acts', 'parent', 'stranger', ...Array.from({ length: 9 }, (_, i) => `level-${i}`)];
    pod.apply({
      defaultPosture: { execute: 'block' },
      rules: [
        rule('allow'),
        { name: 'mapped', action: 'allow', execute: { directories: ['/'], recursive: true, operations: ['map'] } },
        {
          name: 'others',
          action: 'allow',
          execute: { paths: others.map((name) => `/bin/${name}`), operations: ['execute'] },
        },
      ],
    });
    expect(await tried('/bin/parent', 5)).toBe('run /bin/child: ok');
    expect(await tried('/bin/stranger', 5)).toBe('run /bin/child: EPERM');
    expect(await tried('/bin/parent', 9)).toBe('run /bin/child: EPERM');
  });
});

describe('a runtime that runs its own binary in the container', () => {
  const own = compileProgram(path.join(import.meta.dirname, 'programs/reexec.c'));
  const LOADER = '/lib64/ld-linux-x86-64.so.2';

  it('arming - dynamically linked, with libraries from the container, it is held from its exec on', async () => {
    const [, libc = ''] = /(\/\S+\/libc\.so\.6)/.exec(execFileSync('ldd', [own], { encoding: 'utf8' })) ?? [];
    for (const name of [LOADER, libc]) container.install(name, name);
    writeFileSync(container.image('/etc/secret'), '');
    writeFileSync(container.image('/etc/plain'), '');
    const tryOpen = async (name: string): Promise<string[]> => {
      const running = Running.start(own, [container.cgroup, container.root, '/proc/self/exe', name]);
      await running.exit();
      return running.lines;
    };
    expect(await tryOpen('/etc/secret')).toEqual(['open /etc/secret: ok']);
    pod.apply({ rules: [{ name: 'secret', action: 'block', file: { paths: ['/etc/secret'], operations: ['read'] } }] });
    expect(await tryOpen('/etc/secret')).toEqual(['open /etc/secret: EPERM']);
    expect(await tryOpen('/etc/plain')).toEqual(['open /etc/plain: ok']);
    expect(pod.counts()).toEqual({ secret: 1 });
  });
});
