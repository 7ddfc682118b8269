// An open with O_CREAT is one operation, whether or not the file exists and whether or not its name
// is in the kernel's cache. A file of the image that the container has never looked up is not in
// the cache.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Container, Pod } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

type Rules = NonNullable<RuntimePolicyInput['rules']>;
type Action = 'audit' | 'block' | 'kill';

const on = (operation: 'create' | 'read' | 'write', action: Action): Rules[number] => ({
  name: operation,
  action,
  file: { directories: ['/etc/held'], operations: [operation] },
});
const THERE = '/etc/held/there';
const ABSENT = '/etc/held/absent';

describe('open with O_CREAT', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    for (const dir of ['/etc/held', '/etc/free']) mkdirSync(container.image(dir));
    for (const name of [THERE, '/etc/free/there']) writeFileSync(container.image(name), '');
  });
  const create = (...names: string[]) => container.acts(...names.flatMap((name) => ['create', name]));

  it('control - without a policy it opens existing files and creates missing ones', async () => {
    expect(await create(THERE, ABSENT)).toEqual([`create ${THERE}: ok`, `create ${ABSENT}: ok`]);
  });

  it('block - refused and counted once each time, in the cache or not; operations beside it land', async () => {
    pod.apply({ rules: [on('create', 'block'), on('write', 'block')] });
    expect(await create(THERE)).toEqual([`create ${THERE}: EPERM`]);
    const [first] = [pod.counts()];
    expect(Object.values(first)).toEqual([1]);
    expect(await create(THERE)).toEqual([`create ${THERE}: EPERM`]);
    expect(await create(ABSENT, ABSENT)).toEqual([`create ${ABSENT}: EPERM`, `create ${ABSENT}: EPERM`]);
    expect(pod.counts()).toEqual({ create: 3, write: 1 });
    expect(await create('/etc/free/there', '/etc/free/absent')).toEqual([
      'create /etc/free/there: ok',
      'create /etc/free/absent: ok',
    ]);
    expect(pod.counts()).toEqual({ create: 3, write: 1 });
  });

  it('block of writing alone - counted once, and a file that may be created is refused when it is opened', async () => {
    pod.apply({ rules: [on('write', 'block')] });
    expect(await create(THERE, THERE)).toEqual([`create ${THERE}: EPERM`, `create ${THERE}: EPERM`]);
    expect(pod.counts()).toEqual({ write: 2 });
  });

  it('audit - an existing file is written, a missing one is created and written', async () => {
    pod.apply({ rules: [on('create', 'audit'), on('write', 'audit')] });
    expect(await create(THERE, THERE)).toEqual([`create ${THERE}: ok`, `create ${THERE}: ok`]);
    expect(pod.counts()).toEqual({ write: 2 });
    expect(await create(ABSENT)).toEqual([`create ${ABSENT}: ok`]);
    expect(pod.counts()).toEqual({ create: 1, write: 3 });
  });

  it('kill - a rule about writing kills also if a rule about creating refused before', async () => {
    pod.apply({ rules: [on('create', 'block'), on('write', 'kill')] });
    expect(await container.run(['/bin/acts', 'create', THERE])).toEqual(['exit SIGKILL']);
    expect(pod.counts()).toEqual({ create: 1 });
  });

  it('a second open is a second operation, also if the file was created between the two', async () => {
    pod.apply({ rules: [on('create', 'block'), on('write', 'block')] });
    const running = container.start(['/bin/acts', 'create', ABSENT, 'wait', 'create', ABSENT]);
    await running.line('ready');
    writeFileSync(path.join(container.root, ABSENT), '');
    running.go();
    await running.exit();
    expect(running.lines).toEqual([`create ${ABSENT}: EPERM`, 'ready', 'wait : ok', `create ${ABSENT}: EPERM`]);
    expect(pod.counts()).toEqual({ create: 1, write: 1 });
  });

  it('audit beside a refused creation - the read of an existing file counts once each time, in the cache or not', async () => {
    pod.apply({ rules: [on('create', 'block'), on('read', 'audit')] });
    expect(await container.acts('create-to-read', THERE)).toEqual([`create-to-read ${THERE}: ok`]);
    expect(pod.counts()).toEqual({ create: 1, read: 1 });
    expect(await container.acts('create-to-read', THERE)).toEqual([`create-to-read ${THERE}: ok`]);
    expect(pod.counts()).toEqual({ create: 1, read: 2 });
  });

  it('not covered - a refused creation is counted although the file exists and may be written', async () => {
    pod.apply({ rules: [on('create', 'block')] });
    expect(await create(THERE, THERE)).toEqual([`create ${THERE}: ok`, `create ${THERE}: ok`]);
    expect(pod.counts()).toEqual({ create: 1 });
  });
});
