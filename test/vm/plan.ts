/**
 * What is started for one virtual machine, as pure text: arguments of qemu and of the file system daemons, the job script.
 *
 * Invariants: software emulation only; the root share is read-only at the daemon, so that nothing inside can write to the
 * machine but the repository; a machine that panics or oopses ends instead of waiting.
 */
import path from 'node:path';
import type { Kernel } from './kernels.ts';

export const MEMORY_MIB = 2048;
export const CPUS = 2;

/** The serial ports by number; init.sh finds them by name. */
export const PORTS = { stdout: 1, stderr: 2, control: 3 } as const;
export type PortName = keyof typeof PORTS;

/** Of the caller's environment, what the job sees too. */
const PASSED_ENV = /^(CI|TERM|NO_COLOR|FORCE_COLOR|LANG|NODE_OPTIONS|VITEST_.*|BAILIFF_.*)$/;
const JOB_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface MachinePlan {
  readonly kernel: Kernel;
  readonly repo: string;
  /** Sockets and job script of this machine. */
  readonly dir: string;
  readonly kernelArgs: readonly string[];
  /** One virtual nanosecond an instruction, one CPU: what the guest's clock measures is instructions, the same in every run. */
  readonly countInstructions?: boolean;
  /** For a kernel that reaches its root by modules (initrd.ts). */
  readonly initrd?: string;
}

export function kernelCommandLine({ kernel, repo, dir, kernelArgs }: MachinePlan): string {
  return [
    'rootfstype=virtiofs root=root ro',
    `init=${path.join(repo, 'test/vm/init.sh')}`,
    `bailiff.repo=${repo} bailiff.job=${dir} bailiff.kernel=${kernel.dir}`,
    'lsm=lockdown,capability,landlock,yama,bpf',
    'console=ttyS0 loglevel=4 panic=-1 oops=panic mitigations=off random.trust_cpu=on systemd.unified_cgroup_hierarchy=1',
    ...kernelArgs,
  ].join(' ');
}

export function qemuArguments(plan: MachinePlan): string[] {
  const socket = (name: string) => path.join(plan.dir, `${name}.sock`);
  const ports = (Object.keys(PORTS) as PortName[]).flatMap((name) => [
    ...['-chardev', `socket,id=${name},path=${socket(name)}`],
    ...['-device', `virtserialport,chardev=${name},nr=${PORTS[name]},name=${name}`],
  ]);
  const shares = ['root', 'repo'].flatMap((tag) => [
    ...['-chardev', `socket,id=${tag},path=${socket(tag)}`],
    ...['-device', `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=1024`],
  ]);
  const clock = plan.countInstructions
    ? ['-accel', 'tcg,thread=single', '-icount', 'shift=0', '-cpu', 'max', '-smp', '1']
    : ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', String(CPUS)];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-nic', 'none'],
    ...['-machine', 'q35,memory-backend=ram', ...clock],
    ...['-m', `${MEMORY_MIB}M`, '-object', `memory-backend-memfd,id=ram,size=${MEMORY_MIB}M,share=on`],
    ...['-serial', 'stdio', '-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci', ...ports, ...shares],
    ...['-kernel', plan.kernel.image, '-append', kernelCommandLine(plan)],
    ...(plan.initrd === undefined ? [] : ['-initrd', plan.initrd]),
  ];
}

export function virtiofsdArguments(plan: MachinePlan, tag: 'root' | 'repo'): string[] {
  const socket = path.join(plan.dir, `${tag}.sock`);
  // The host's files do not change under a short-lived machine as far as tests care; the repository may.
  const share = tag === 'root' ? ['--shared-dir', '/', '--readonly', '--cache', 'always'] : ['--shared-dir', plan.repo];
  // A daemon cannot pivot into the root that it stands on, but it can change root to it.
  const sandbox = tag === 'root' ? 'chroot' : 'namespace';
  // An overlay refuses directories that mount themselves when looked at (EREMOTE), as announced submounts do.
  const options = ['--xattr', '--no-announce-submounts', '--sandbox', sandbox, '--log-level', 'error'];
  return [...share, '--socket-path', socket, ...options];
}

/** A word that sh reads back as it is. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The job: a shell line, or words that are passed as they are. */
export function jobScript(
  command: string | readonly string[],
  plan: MachinePlan,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const passed = Object.entries(env).filter(([name, value]) => value !== undefined && PASSED_ENV.test(name));
  const all = [
    ...[
      ['PATH', JOB_PATH],
      ['HOME', '/root'],
      ['TMPDIR', '/tmp'],
      ['BAILIFF_VM', plan.kernel.name],
    ],
    ...passed,
  ] as [string, string][];
  const line = typeof command === 'string' ? command : command.map(quote).join(' ');
  return `${all.map(([name, value]) => `export ${name}=${quote(value)}`).join('\n')}\ncd ${quote(plan.repo)}\n${line}\n`;
}
