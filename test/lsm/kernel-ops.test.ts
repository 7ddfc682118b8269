// Capabilities, other tasks, namespaces and code for the kernel: each denial beside allowed
// operations, and all of them without a policy.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import { OWNER_LOOK_UP, whyLacking } from './files-rig.ts';
import { acts, type Container, type Pod, Running } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { expectRows, programPath, type Row } from './operations.ts';

type Rules = NonNullable<RuntimePolicyInput['rules']>;

const rig = useRig();
let pod: Pod;
let container: Container;

function equip(to: Container): void {
  to.install(programPath('kernel-ops'), '/bin/kernel-ops');
  for (const name of ['file', 'other', 'third']) writeFileSync(to.image(`/etc/${name}`), 'of the image');
}
beforeEach(() => {
  pod = rig.pod();
  container = pod.container();
  equip(container);
});

describe('capabilities', () => {
  const ROWS: readonly Row[] = [
    ['seccomp', 'ok', 'EACCES'], // checks it, but does not audit
    ['hostname', 'ok', 'EPERM'],
    ['trusted,/dev/shm/f', 'ok', 'EPERM'],
    ['uring-trusted,/dev/shm/f', 'ok', 'EPERM'],
    ['persona-trusted,/dev/shm/f', 'ok', 'EPERM'],
    ['userns-hostname', 'ok', 'EPERM'],
    ['write,/etc/file', 'ok', 'ok'], // overlayfs copies it up with the credentials of the mounter
    ['chown,/dev/shm/f', 'ok', 'ok'],
    ['nice', 'ok', 'ok'],
  ];

  it('control - without a policy each capability works', async () => {
    await expectRows(container, 'kernel-ops', ROWS, 'free');
  });

  it('block - refuses its use by every way and counts it; a probe is refused and not counted, copy-up is left alone', async () => {
    pod.apply({
      rules: [
        { name: 'admin', action: 'block', capabilities: ['sys_admin'] },
        { name: 'seen', action: 'audit', capabilities: ['chown'] },
      ],
    });
    await expectRows(container, 'kernel-ops', ROWS, 'guarded');
    expect(pod.counts()).toEqual({ admin: 5, seen: 2 }); // owner and group are each a check
  });

  it('kill - its use ends the task, a probe does not', async () => {
    pod.apply({ rules: [{ name: 'admin', action: 'kill', capabilities: ['sys_admin'] }] });
    const rows: readonly Row[] = [
      ['seccomp', '', 'EACCES'],
      ['hostname', '', 'Killed'],
      ['nice', '', 'ok'],
    ];
    await expectRows(container, 'kernel-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ admin: 1 });
  });

  it('posture - an operation that no rule allows is refused', async () => {
    pod.apply({
      defaultPosture: { capability: 'block' },
      rules: [{ name: 'fine', action: 'allow', capabilities: ['sys_nice'] }],
    });
    const rows: readonly Row[] = [
      ['hostname', '', 'EPERM'],
      ['nice', '', 'ok'],
    ];
    await expectRows(container, 'kernel-ops', rows, 'guarded');
  });
});

describe('kernel', () => {
  const OPERATIONS = ['ptrace', 'user-namespace', 'bpf', 'module', 'kexec', 'perf-event', 'signal'] as const;
  const EACH: Rules = OPERATIONS.map((name) => ({ name, action: 'block', kernel: { operations: [name] } }));
  const CHANGES = ['limit', 'renice', 'ionice', 'batch', 'pin', 'pages', 'owner'];
  const sleeper = async (of: Container): Promise<Running> => {
    const running = of.start(['/bin/acts', 'map-plain', '/bin/acts', 'wait']);
    await running.line('map-plain /bin/acts: ok');
    return running;
  };
  const ROWS: readonly Row[] = [
    ['userns', 'ok', 'EPERM'],
    ['userns-clone', 'ok', 'EPERM'],
    ['bpf', 'ok', 'EPERM'],
    ['module', 'ENOEXEC', 'EPERM'],
    ['finit,/etc/file', 'ENOEXEC', 'EPERM'],
    ['kexec', 'ok', 'EPERM'],
    ['perf', 'ok', 'EPERM'],
    ['traceme', 'ok', 'EPERM'],
    ['attach,child', 'ok', 'EPERM'],
    ['readv,child', 'ok', 'EPERM'],
    ['getfd,child', 'ok', 'EPERM'],
    ['hostname', 'ok', 'ok'],
  ];

  it('control - without a policy each is done', async () => {
    await expectRows(container, 'kernel-ops', ROWS, 'free');
  });

  it('block - each is refused and counted', async () => {
    pod.apply({ rules: EACH });
    await expectRows(container, 'kernel-ops', ROWS, 'guarded');
    expect(pod.counts()).toEqual({ 'user-namespace': 2, bpf: 1, module: 2, kexec: 1, 'perf-event': 1, ptrace: 4 });
  });

  it('module-request - a call that needs a module ends as without the module, and its sample has the name; without the rule it is loaded', async () => {
    container.install(programPath('net-ops'), '/bin/net-ops');
    pod.apply({ rules: [{ name: 'request', action: 'block', kernel: { operations: ['module-request'] } }] });
    rig.takeSamples();
    const rows: readonly Row[] = [['socket,15,3,2', 'ok', 'EAFNOSUPPORT']]; // AF_KEY, which no other test here needs
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ request: 1 });
    const [sample] = rig.takeSamples().filter(({ pod: uid }) => uid === pod.uid);
    expect(sample).toMatchObject({ subject: 'net-pf-15', subjectIsPath: false, comm: 'net-ops' });
    const free = rig.pod().container();
    free.install(programPath('net-ops'), '/bin/net-ops');
    await expectRows(free, 'net-ops', rows, 'free');
  });

  it('foreign-netns - a request about an interface that names another network namespace by its id, or by a process of the host, is refused', async () => {
    const FREE: readonly Row[] = [
      ['rtnetlink,own', 'ok', 'ok'],
      ['rtnetlink,link-id', 'ok', 'EPERM'],
      ['rtnetlink,target-id', 'EINVAL', 'EPERM'],
      ['rtnetlink,behind-many', 'EINVAL', 'EPERM'],
      ['rtnetlink,second', 'EINVAL', 'EPERM'],
      ['rtnetlink,too-many', 'ok', 'EPERM'],
      ['rtnetlink,short', 'EINVAL', 'EPERM'],
      ['rtnetlink,addresses', 'EINVAL', 'EPERM'],
      ['rtnetlink,multicast', 'EINVAL', 'EPERM'],
      ['rtnetlink,anycast', 'EINVAL', 'EPERM'],
      ['rtnetlink,by-pid', 'ESRCH', 'EPERM'],
      ['rtnetlink,peer-pid', 'ESRCH', 'EPERM'],
    ];
    await expectRows(container, 'kernel-ops', FREE, 'free');
    pod.apply({ rules: [{ name: 'netns', action: 'block', kernel: { operations: ['foreign-netns'] } }] });
    await expectRows(container, 'kernel-ops', FREE, 'guarded');
    expect(pod.counts()).toEqual({ netns: 11 });
  });

  it('one - a rule about one of them leaves the others alone', async () => {
    pod.apply({ rules: [{ name: 'bpf', action: 'block', kernel: { operations: ['bpf'] } }] });
    const rows = ROWS.map(([operation, free]): Row => [operation, free, operation === 'bpf' ? 'EPERM' : free]);
    await expectRows(container, 'kernel-ops', rows, 'guarded');
  });

  it('other tasks - tasks of the same pod may be signalled and read, other tasks may not', async () => {
    const neighbour = rig.pod().container();
    const [mate, foreign] = await Promise.all([sleeper(container), sleeper(neighbour)]);
    const own = mate.child.pid!;
    const others = [foreign.child.pid!, process.pid];
    const rows: readonly Row[] = [
      [`kill,${own},18`, 'ok', 'ok'],
      [`pidfd-kill,${own},18`, 'ok', 'ok'],
      [`root,${own}`, 'ok', 'ok'],
      [`attach,${own}`, 'ok', 'EPERM'],
      ...others.flatMap((pid): Row[] => [
        [`kill,${pid},0`, 'ok', 'ok'],
        [`kill,${pid},18`, 'ok', 'EPERM'],
        [`pidfd-kill,${pid},18`, 'ok', 'EPERM'],
        [`root,${pid}`, 'ok', 'EACCES'],
        [`mem,${pid}`, 'ok', 'EACCES'],
        [`stat,${pid}`, 'ok', 'ok'], // checks whether to show addresses, and does not audit
      ]),
    ];
    await expectRows(container, 'kernel-ops', rows, 'free');
    pod.apply({ rules: EACH });
    await expectRows(container, 'kernel-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ signal: 4, ptrace: 5 });
  });

  it('other tasks - only tasks of the same pod may be slowed, limited and marked, and only its own cgroup changed', async () => {
    const neighbour = rig.pod().container();
    container.mount('volume', '-t', 'cgroup2', 'none');
    container.mount('tmp', '-t', 'cgroup', '-o', 'none,name=without-controllers', 'cgroup');
    container.mount('disk', '-t', 'cgroup', '-o', 'freezer', 'cgroup');
    const [mate, foreign] = await Promise.all([container, neighbour].map((of) => sleeper(of)));
    const looksUp = whyLacking(OWNER_LOOK_UP) === null;
    const files = ({ cgroup }: Container) => path.join('/volume', path.relative('/sys/fs/cgroup', cgroup));
    const rows: readonly Row[] = [
      ...[mate!.child.pid!, foreign!.child.pid!, process.pid].flatMap((pid, index): Row[] =>
        [...CHANGES.map((change) => `${change},${pid}`), `write,/proc/${pid}/oom_score_adj`].map((row) => [
          ...([row, 'ok', index === 0 && (looksUp || !row.startsWith('owner')) ? 'ok' : 'EPERM'] as const),
        ]),
      ),
      ['owner,self', 'ok', 'ok'],
      // The kernel reads the process from memory that the program can change.
      [`owner-ex,${process.pid}`, 'ok', 'EPERM'],
      [`owner-ioctl,${process.pid}`, 'ok', 'EPERM'],
      [`owner-compat,${process.pid}`, 'ok', 'EPERM'],
      [`owner,-${process.pid}`, 'ok', 'EPERM'],
      ...['cgroup.kill', 'cgroup.freeze', 'cgroup.procs'].flatMap((file): Row[] => [
        [`write,${files(container)}/${file}`, 'ok', 'ok'],
        [`write,${files(neighbour)}/${file}`, 'ok', 'EPERM'],
      ]),
      ['write,/volume/cgroup.procs', 'ok', 'EPERM'],
      ['write,/tmp/cgroup.procs', 'ok', 'ok'],
      ['write,/disk/cgroup.procs', 'ok', 'EPERM'],
      ['write,/proc/sys/kernel/hostname', 'ok', 'ok'],
    ];
    await expectRows(container, 'kernel-ops', rows, 'free');
    pod.apply({ rules: [{ name: 'signal', action: 'block', kernel: { operations: ['signal'] } }] });
    await expectRows(container, 'kernel-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ signal: 2 * (CHANGES.length + 1) + 9 + (looksUp ? 0 : 1) });
  });

  it("other tasks - a process of the host that was moved into the pod's cgroup stays one of the host", async () => {
    const moved = Running.start(acts(), ['wait']);
    await moved.line('ready');
    const pid = moved.child.pid!;
    writeFileSync(path.join(container.cgroup, 'cgroup.procs'), `${pid}`);
    const rows: readonly Row[] = [
      [`root,${pid}`, 'ok', 'EACCES'],
      [`kill,${pid},18`, 'ok', 'EPERM'],
    ];
    try {
      await expectRows(container, 'kernel-ops', rows, 'free');
      pod.apply({ rules: EACH });
      await expectRows(container, 'kernel-ops', rows, 'guarded');
      expect(pod.counts()).toEqual({ signal: 1, ptrace: 1 });
    } finally {
      moved.go();
      await moved.exit();
    }
  });
});
