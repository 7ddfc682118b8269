// The virtual machine itself: the environment of a command, the output on the host, and the error
// for each kind of failure.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { DEFAULT_KERNEL, findKernel, repoRoot } from './kernels.ts';
import { hangs, runInVm, VmError, type VmResult, whyNoVm } from './machine.ts';

const timeoutMs = 60_000;
/** Longer than a machine takes from its first output to its end. */
const HELD_UP_MS = 4_000;
const HOUR_S = 3_600;
/** Exit code of the command that found every file system. */
const ALL_THERE = 3;

/**
 * Folders of sockets of the machines that this process runs or left behind. They have a separate
 * parent directory, because other processes run machines too.
 */
const machineDirs = () => readdirSync(tmpdir()).filter((name) => name.startsWith('bailiff-vm-'));

const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** The state of this process's qemu, as in proc(5); undefined without a qemu. */
function qemuState(): string | undefined {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
  const stats = children.map((pid) => /\(qemu-[^)]*\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')));
  return stats.find((stat) => stat !== null)?.[1];
}

/**
 * Fails unless every file system, controller and module that tests need exists. Its only output is
 * that of `last`.
 */
const fileSystems = (shared: string, hostOnly: string, last: string): string =>
  [
    'set -e',
    'touch /etc/bailiff-x /usr/bin/bailiff-x /bailiff-x /var/lib/bailiff-x /tmp/bailiff-x',
    `test ! -e ${hostOnly}`,
    `echo inside > ${shared}/out`,
    'for fs in "cgroup2 /sys/fs/cgroup" "bpf /sys/fs/bpf" "tracefs /sys/kernel/tracing" "tmpfs /tmp" \\',
    '  "securityfs /sys/kernel/security" "tmpfs /dev/shm" "devpts /dev/pts"; do',
    '  set -- $fs; grep -q " $2 $1 " /proc/mounts || { echo "no $fs"; exit 1; }',
    'done',
    'for c in cpu memory pids io cpuset; do grep -qw $c /sys/fs/cgroup/cgroup.subtree_control; done',
    'for m in veth bridge overlay vxlan nf_tables sch_ingress tun; do modprobe $m; done',
    'ping -c 1 -q 127.0.0.1 >/dev/null',
    'mkdir -p /tmp/o/l /tmp/o/u /tmp/o/w /tmp/o/m && mount -t overlay o -o lowerdir=/tmp/o/l,upperdir=/tmp/o/u,workdir=/tmp/o/w /tmp/o/m',
    'unshare -m sh -c "mount --make-rprivate / && mkdir -p /tmp/r && mount --bind / /tmp/r && cd /tmp/r && pivot_root . mnt && ls >/dev/null"',
    last,
  ].join('\n');

async function errorOf(run: Promise<unknown>): Promise<VmError> {
  const error = await run.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VmError);
  return error as VmError;
}

// Longer than the limits of boot and command, so that a failure shows their errors.
describe('virtual machine', { timeout: 240_000 }, () => {
  let own = '';
  beforeAll(() => {
    own = mkdtempSync(path.join(tmpdir(), 'bailiff-machines-'));
  });
  afterAll(() => {
    rmSync(own, { recursive: true, force: true });
  });
  beforeEach((context) => {
    // Per test, because stubs are undone after each.
    vi.stubEnv('TMPDIR', own);
    const why = whyNoVm();
    if (why !== null) context.skip(why);
  });

  describe('two at a time', () => {
    const preemption = 'grep -o "([a-z]*)" /sys/kernel/debug/sched/preempt';
    const streamed: string[] = [];
    let [shared, hostOnly] = ['', ''];
    let [command, files]: VmResult[] = [];

    beforeAll(async () => {
      if (whyNoVm() !== null) return;
      vi.stubEnv('TMPDIR', own);
      shared = mkdtempSync(path.join(repoRoot, '.cache/vm-test-'));
      hostOnly = path.join(own, 'host-only');
      writeFileSync(hostOnly, 'host');
      const line = `date +%s; uname -r; pwd; echo "$BAILIFF_MARK"; ${preemption}; echo to-stderr >/dev/stderr; head -c 300000 /dev/zero | tr "\\0" x; exit 7`;
      [command, files] = await Promise.all([
        runInVm(['sh', '-c', line], {
          timeoutMs,
          env: { BAILIFF_MARK: "it's $HOME" },
          onStdout: (chunk) => {
            // A host that is blocked while the machine ends loses no output.
            if (streamed.length === 0) standStill(HELD_UP_MS);
            streamed.push(chunk.toString('utf8'));
          },
        }),
        runInVm(fileSystems(shared, hostOnly, `setsid sleep 600 &\n${preemption}\nexit ${ALL_THERE}`), {
          timeoutMs,
          kernelArgs: ['preempt=full'],
        }),
      ]);
    }, 240_000);
    afterAll(() => {
      if (shared !== '') rmSync(shared, { recursive: true });
    });

    it('command - output by stream, exit code, kernel, clock, working directory and arguments as passed', () => {
      const release = findKernel(DEFAULT_KERNEL)!.release;
      expect(command?.code).toBe(7);
      const [seconds = '', ...lines] = (command?.stdout ?? '').split('\n');
      // Also in a run whose clock is ahead. The machine may be slow.
      expect(Math.abs(Date.now() / 1000 - Number(seconds))).toBeLessThan(HOUR_S);
      expect(lines.join('\n')).toBe(`${release}\n${repoRoot}\nit's $HOME\n(voluntary)\n${'x'.repeat(300_000)}`);
      expect(streamed.join('')).toBe(command?.stdout);
      expect(command?.stderr).toBe('to-stderr\n');
    });

    it('file systems - all needed ones are mounted; writes stay inside, except in the repository', () => {
      expect(files).toMatchObject({ code: ALL_THERE, stderr: '' });
      expect(readFileSync(path.join(shared, 'out'), 'utf8')).toBe('inside\n');
      for (const dir of ['/etc', '/usr/bin', '', '/var/lib', '/tmp'])
        expect(existsSync(`${dir}/bailiff-x`)).toBe(false);
    });

    it('kernel arguments - full preemption in one machine, the default in the other', () => {
      expect(files?.stdout).toBe('(full)\n');
      expect(command?.stdout).toContain('\n(voluntary)\n');
    });

    it('left running - a process that keeps the output of an ended command open ends with the machine', () => {
      expect(files).toMatchObject({ code: ALL_THERE, stdout: '(full)\n', stderr: '' });
    });
  });

  it('time-out - the machine is stopped, and the error contains the end of the console', async () => {
    // Kernel output from before the limit starts. The command itself may not have printed anything
    // yet on a delayed machine.
    const error = await errorOf(runInVm('sleep 600', { timeoutMs: 1_500, kernelArgs: ['loglevel=7'] }));
    expect(error).toMatchObject({ code: 'VM_TIMEOUT' });
    expect(error.message).toContain('test/vm/init.sh as init process');
    expect(machineDirs()).toEqual([]);
  });

  it('panic - a dead machine, with the reason from its console, also if the host is blocked from its start to its end', async () => {
    const run = runInVm('echo c >/proc/sysrq-trigger; sleep 60', { timeoutMs });
    const died = errorOf(run);
    const isHung = () => hangs({ dir: path.join(own, machineDirs()[0] ?? '') });
    // runInVm retries a boot that hangs, but only while this process is not blocked.
    do {
      await vi.waitUntil(() => qemuState() !== undefined && !isHung(), { timeout: timeoutMs, interval: 5 });
      for (let left = 2_000; left > 0 && qemuState() !== 'Z' && !isHung(); left -= 1) standStill(100);
    } while (isHung());
    expect(qemuState()).toBe('Z');
    const error = await died;
    expect(error).toMatchObject({ code: 'VM_DIED' });
    expect(error.message).toContain('Kernel panic');
  });

  it('hang - a boot in which the kernel reports a stalled processor is retried, then reported', async () => {
    // The kernel prints its command line first, so this argument looks like its report.
    const sign = 'said="rcu: Possible timer handling issue on cpu=1"';
    const tried = new Set<string>();
    const watcher = watch(own, (_, name) => name !== null && tried.add(name));
    try {
      const error = await errorOf(runInVm('true', { timeoutMs, kernelArgs: ['loglevel=7', sign] }));
      expect(error).toMatchObject({ code: 'VM_BOOT', message: expect.stringContaining('hangs in its boot') });
      await vi.waitFor(() => expect(tried.size).toBe(3));
    } finally {
      watcher.close();
    }
  });

  it('abort - stops at once, during the boot too', async () => {
    const error = await errorOf(runInVm('true', { timeoutMs, signal: AbortSignal.timeout(500) }));
    expect(error).toMatchObject({ code: 'VM_ABORTED' });
  });

  it('kernel - an unknown name is rejected with the reason', async () => {
    expect(await errorOf(runInVm('true', { timeoutMs, kernel: 'none' }))).toMatchObject({ code: 'VM_UNAVAILABLE' });
  });
});
