/**
 * The command lines of one virtual machine: arguments of qemu and of the file system daemons, the
 * job script. Pure. Invariants: software emulation only. The daemon shares the root read-only, so
 * that the machine can write only to the repository. A machine that panics or oopses ends instead
 * of waiting.
 */
import path from 'node:path';
import type { Kernel } from './kernels.ts';

export const MEMORY_MIB = 2048;
export const CPUS = 2;
/**
 * Without fast string instructions, which the emulator executes byte by byte. The kernel and libc
 * then copy words: loading the runtime programs takes half the time.
 */
const CPU_MODEL = 'max,erms=off,fsrm=off';
/**
 * The daemons write files into memory where the emulator does not see it: it would execute what it
 * translated of a page's former content. The emulator sees the kernel zero the page before.
 */
const ZEROED_PAGES = 'init_on_alloc=1';

/** The serial ports by number; init.sh finds them by name. */
export const PORTS = { stdout: 1, stderr: 2, control: 3 } as const;
export type PortName = keyof typeof PORTS;

/** Variables of the caller's environment that the job also gets. */
const PASSED_ENV = /^(CI|TERM|NO_COLOR|FORCE_COLOR|LANG|NODE_OPTIONS|VITEST_.*|BAILIFF_.*)$/;
const JOB_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface MachinePlan {
  readonly kernel: Kernel;
  readonly repo: string;
  /** Sockets, job script, console and initrd of this machine. */
  readonly dir: string;
  readonly kernelArgs: readonly string[];
  /**
   * One virtual nanosecond per instruction, one CPU: the guest's clock counts instructions, the
   * same in every run.
   */
  readonly countInstructions?: boolean;
  /** For a kernel that has the drivers of its root as modules (initrd.ts). */
  readonly initrd?: string;
}

export function kernelCommandLine({ kernel, repo, dir, kernelArgs }: MachinePlan): string {
  return [
    'rootfstype=virtiofs root=root ro',
    `init=${path.join(repo, 'test/vm/init.sh')}`,
    `bailiff.repo=${repo} bailiff.job=${dir} bailiff.kernel=${kernel.dir}`,
    'lsm=lockdown,capability,landlock,yama,bpf',
    'console=ttyS0 loglevel=4 panic=-1 oops=panic mitigations=off cryptomgr.notests random.trust_cpu=on systemd.unified_cgroup_hierarchy=1',
    ZEROED_PAGES,
    ...kernelArgs,
  ].join(' ');
}

/**
 * The output of the machine's serial port. Not a stream of Node's, whose socket pair holds about 300
 * of the single characters that the port passes: while this process is blocked, the machine would
 * wait 10 ms for each further one.
 */
export const consoleFile = ({ dir }: Pick<MachinePlan, 'dir'>): string => path.join(dir, 'console');

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
    ? ['-accel', 'tcg,thread=single', '-icount', 'shift=0', '-smp', '1']
    : ['-accel', 'tcg,thread=multi', '-smp', String(CPUS)];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-nic', 'none'],
    ...['-machine', 'q35,memory-backend=ram', '-cpu', CPU_MODEL, ...clock],
    ...['-m', `${MEMORY_MIB}M`, '-object', `memory-backend-memfd,id=ram,size=${MEMORY_MIB}M,share=on`],
    ...['-chardev', `file,id=console,path=${consoleFile(plan)}`, '-serial', 'chardev:console'],
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci', ...ports, ...shares],
    ...['-kernel', plan.kernel.image, '-append', kernelCommandLine(plan)],
    ...(plan.initrd === undefined ? [] : ['-initrd', plan.initrd]),
  ];
}

export function virtiofsdArguments(plan: MachinePlan, tag: 'root' | 'repo'): string[] {
  const socket = path.join(plan.dir, `${tag}.sock`);
  // Caches are safe: a machine reads no file of the host that changes meanwhile. Without them it
  // reads a program again at each start.
  const share = ['--shared-dir', ...(tag === 'root' ? ['/', '--readonly'] : [plan.repo]), '--cache', 'always'];
  // A daemon cannot pivot into its own root, but it can change root to it.
  const sandbox = tag === 'root' ? 'chroot' : 'namespace';
  // An overlay refuses directories that mount themselves on access (EREMOTE), as announced
  // submounts do.
  const options = ['--xattr', '--no-announce-submounts', '--sandbox', sandbox, '--log-level', 'error'];
  return [...share, '--socket-path', socket, ...options];
}

/** Quotes a word for sh. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The job: a shell line, or an argument list. */
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
