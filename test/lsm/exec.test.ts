import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import { acts, type Container, type Pod } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const rule = (name: string, action: 'audit' | 'block' | 'kill', path: string, operations: ('execute' | 'map')[]) => ({
  name,
  action,
  execute: { paths: [path], operations },
});

const POLICY: RuntimePolicyInput = {
  rules: [
    rule('denied', 'block', '/bin/denied', ['execute']),
    rule('killed', 'kill', '/bin/killed', ['execute']),
    rule('audited', 'audit', '/bin/audited', ['execute']),
    rule('interpreter', 'block', '/bin/interpreter', ['execute']),
    rule('mapped', 'block', '/bin/mapped', ['map']),
    { name: 'suffix', action: 'block', execute: { suffixes: ['.run'] } },
    { name: 'directory', action: 'block', execute: { directories: ['/opt/tools'] } },
    { name: 'recursive', action: 'block', execute: { directories: ['/opt/deep'], recursive: true } },
    {
      name: 'from-source',
      action: 'block',
      fromSource: [{ path: '/bin/parent', children: true }],
      execute: { paths: ['/bin/child'], operations: ['execute'] },
    },
  ],
};

const PROGRAMS = [
  ...['denied', 'killed', 'audited', 'interpreter', 'mapped', 'x.run', 'xrun', 'parent', 'between', 'child'].map(
    (name) => `/bin/${name}`,
  ),
  ...['/opt/tools/a', '/opt/tools/below/a', '/opt/deep/below/a', '/opt/a'],
];

describe('execute', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    for (const name of PROGRAMS) container.install(acts(), name);
    container.script('/bin/script', '#!/bin/interpreter\n');
    container.script('/bin/plain-script', '#!/bin/acts\n');
  });

  it('control - without a policy everything runs and nothing is counted', async () => {
    const all = [...PROGRAMS, '/bin/script', '/bin/plain-script'];
    const lines = await container.acts(...all.flatMap((name) => ['run', name, ',']), 'map', '/bin/mapped');
    expect(lines).toEqual([...all.map((name) => `run ${name}: ok`), 'map /bin/mapped: ok']);
  });

  it('path - block refuses, kill ends the task, audit passes; each is counted once', async () => {
    pod.apply(POLICY);
    const lines = await container.acts(
      ...['run', '/bin/denied', ',', 'run', '/bin/killed', ',', 'run', '/bin/audited', ',', 'run', '/bin/xrun'],
    );
    expect(lines).toEqual([
      'run /bin/denied: EPERM',
      'run /bin/killed: signal 9',
      'run /bin/audited: ok',
      'run /bin/xrun: ok',
    ]);
    expect(pod.counts()).toEqual({ denied: 1, killed: 1, audited: 1 });
  });

  it('path - directories match one level or all, a suffix matches the end of the name', async () => {
    pod.apply(POLICY);
    const names = ['/opt/tools/a', '/opt/tools/below/a', '/opt/deep/below/a', '/opt/a', '/bin/x.run', '/bin/xrun'];
    const lines = await container.acts(...names.flatMap((name) => ['run', name, ',']));
    expect(lines.map((line) => line.split(': ')[1])).toEqual(['EPERM', 'ok', 'EPERM', 'ok', 'EPERM', 'ok']);
    expect(pod.counts()).toEqual({ directory: 1, recursive: 1, suffix: 1 });
  });

  it('path - at any depth: rules exist for some depths, and programs for all of them', async () => {
    const deep = (components: number) => `/opt${'/d'.repeat(components - 2)}/tool`;
    const [few, over] = [deep(5), deep(40)];
    const beside = [deep(4), deep(6), deep(39), deep(41)];
    for (const name of [few, over, ...beside]) container.install(acts(), name);
    pod.apply({ rules: [rule('few', 'block', few, ['execute']), rule('over', 'block', over, ['execute'])] });
    const lines = await container.acts(...[few, over, ...beside].flatMap((name) => ['run', name, ',']));
    expect(lines.map((line) => line.split(': ')[1])).toEqual(['EPERM', 'EPERM', ...beside.map(() => 'ok')]);
    expect(pod.counts()).toEqual({ few: 1, over: 1 });
  });

  it('script - is judged by its interpreter too', async () => {
    pod.apply(POLICY);
    expect(await container.acts('run', '/bin/script', ',', 'run', '/bin/plain-script')).toEqual([
      'run /bin/script: EPERM',
      'run /bin/plain-script: ok',
    ]);
    expect(pod.counts()).toEqual({ interpreter: 1 });
  });

  it('map - an executable mapping by mmap and by mprotect is refused, a plain one is not', async () => {
    pod.apply(POLICY);
    const lines = await container.acts(
      ...['map', '/bin/mapped', 'mprotect', '/bin/mapped', 'map-plain', '/bin/mapped', 'map', '/bin/xrun'],
      'map-anonymous',
    );
    expect(lines).toEqual([
      'map /bin/mapped: EPERM',
      'mprotect /bin/mapped: EPERM',
      'map-plain /bin/mapped: ok',
      'map /bin/xrun: ok',
      'map-anonymous memory: ok',
    ]);
    expect(pod.counts()).toEqual({ mapped: 2 });
  });

  it('source - holds for a program and for programs that it started, and for no other program', async () => {
    pod.apply(POLICY);
    expect(
      await container.acts(
        ...['run', '/bin/child', ',', 'run', '/bin/parent', 'run', '/bin/child', ','],
        ...['run', '/bin/parent', 'become', '/bin/between', 'run', '/bin/child', ','],
      ),
    ).toEqual([
      'run /bin/child: ok',
      'run /bin/child: EPERM',
      'run /bin/parent: ok',
      'run /bin/child: EPERM',
      'run /bin/parent: ok',
    ]);
    expect(pod.counts()).toEqual({ 'from-source': 2 });
  });

  it('entry point - the first program of a container is judged like any other', async () => {
    pod.apply(POLICY);
    expect(await container.run(['/bin/denied'])).toEqual(['/bin/denied: Operation not permitted', 'exit 121']);
    expect(await container.run(['/bin/xrun'])).toEqual(['exit 0']);
    expect(pod.counts()).toEqual({ denied: 1 });
  });

  it('posture - a program that no rule allows is refused, and audited if the posture only audits', async () => {
    const allow = { name: 'allowed', action: 'allow' as const, execute: { paths: ['/bin/acts', '/bin/xrun'] } };
    pod.apply({ rules: [allow], defaultPosture: { execute: 'block' } });
    expect(await container.acts('run', '/bin/denied', ',', 'run', '/bin/xrun')).toEqual([
      'run /bin/denied: EPERM',
      'run /bin/xrun: ok',
    ]);
    expect(pod.counts()).toEqual({ 'extra-3': 1 });
    pod.apply({ rules: [allow], defaultPosture: { execute: 'audit' } });
    expect(await container.acts('run', '/bin/denied', ',', 'run', '/bin/xrun')).toEqual([
      'run /bin/denied: ok',
      'run /bin/xrun: ok',
    ]);
    expect(pod.counts()).toEqual({ 'extra-2': 1 });
  });

  it('change - a policy edited while a pod runs changes what that pod may do', async () => {
    pod.apply({ rules: [rule('other', 'block', '/bin/xrun', ['execute'])] });
    const running = container.start(['/bin/acts', 'run', '/bin/denied', ',', 'wait', 'run', '/bin/denied', ',']);
    await running.line('ready');
    pod.apply(POLICY);
    running.go();
    await running.exit();
    expect(running.lines).toEqual(['run /bin/denied: ok', 'ready', 'wait : ok', 'run /bin/denied: EPERM']);
  });
});
