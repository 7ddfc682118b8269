// A container's first program is held wherever it starts from: memory, another mount namespace, the
// host, the runtime itself. The same holds for a program that enters a container. Each way is first
// tried without a policy.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { acts, type Container, LOAD_TIMEOUT_MS, type Pod, Running } from './harness/rig.ts';
import { CAPABILITIES, specOf } from './harness/runc.ts';
import { useRig } from './harness/use-rig.ts';
import { readySet } from './scenarios-rig.ts';

const reexec = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/reexec.c'), { flags: ['-static'] });

/**
 * About operations of the program itself: programs that it starts belong to the container anyway.
 */
const POLICY: RuntimePolicyInput = {
  rules: [{ name: 'secret', action: 'block', file: { paths: ['/etc/secret'], operations: ['read'] } }],
};
const TRY = ['map-plain', '/etc/secret', 'map-plain', '/etc/plain'];
const REFUSED = ['map-plain /etc/secret: EPERM', 'map-plain /etc/plain: ok'];
const PASSED = ['map-plain /etc/secret: ok', 'map-plain /etc/plain: ok'];
const BINFMT = '/proc/sys/fs/binfmt_misc';

describe('first program', () => {
  const rig = useRig();
  beforeAll(() => {
    reexec();
  }, LOAD_TIMEOUT_MS);

  let pod: Pod;
  let first: Container;
  let second: Container;
  let running: Running | null = null;
  beforeEach(() => {
    pod = rig.pod();
    [first, second] = [pod.container(), pod.container()];
    second.install(acts(), '/bin/fine');
    for (const name of ['/etc/secret', '/etc/plain']) writeFileSync(second.image(name), '');
  });
  afterEach(async () => {
    running?.go();
    await running?.exit();
    running = null;
  });

  /** Starts the first container's program, which then waits. @returns its process id */
  async function waiting(...words: string[]): Promise<number> {
    running = first.start(['/bin/acts', ...words, 'wait']);
    await running.line('ready');
    return running.child.pid!;
  }

  async function expectHeld(entry: string): Promise<void> {
    const attempt = async () => (await second.run([entry, ...TRY])).filter((line) => line !== 'exit 0');
    expect(await attempt()).toEqual(PASSED);
    pod.apply(POLICY);
    expect(await attempt()).toEqual(REFUSED);
    expect(pod.counts()).toEqual({ secret: 1 });
  }

  it('memory of another container, by /proc/<pid>/fd', async () => {
    await expectHeld(`/proc/${await waiting('hold', '/bin/acts')}/fd/77`);
  });

  it('memory is no image: a first program in it is drift', async () => {
    const entry = `/proc/${await waiting('hold', '/bin/acts')}/fd/77`;
    expect(await second.run([entry])).toEqual(['exit 0']);
    pod.put(readySet('immutable-image'));
    expect(await second.run([entry])).toEqual([`${entry}: Operation not permitted`, 'exit 121']);
    expect(await second.run(['/bin/fine'])).toEqual(['exit 0']);
    expect(pod.counts()).toEqual({ drift: 1 });
  });

  it('a symbolic link in the image that leads to such memory', async () => {
    symlinkSync(`/proc/${await waiting('hold', '/bin/acts')}/fd/77`, second.image('/bin/entry'));
    await expectHeld('/bin/entry');
  });

  it('a file of a mount namespace that another container made, by /proc/<pid>/root', async () => {
    const pid = await waiting('unshare-mnt', 'tmpfs', '/tmp', 'copy', '/bin/acts', '/tmp/tool');
    await expectHeld(`/proc/${pid}/root/tmp/tool`);
  });

  it('a file of the host, by /proc/1/root', async () => {
    await expectHeld(`/proc/1/root${acts()}`);
  });

  it('an interpreter that the host opened (binfmt_misc, flag F)', async () => {
    writeFileSync(second.image('/bin/foreign'), 'BAILIFFY', { mode: 0o755 });
    execFileSync('modprobe', ['binfmt_misc']);
    if (!existsSync(`${BINFMT}/register`)) execFileSync('mount', ['-t', 'binfmt_misc', 'none', BINFMT]);
    writeFileSync(`${BINFMT}/register`, `:bailiff-first:M::BAILIFFY::${acts()}:F`);
    try {
      await expectHeld('/bin/foreign');
    } finally {
      writeFileSync(`${BINFMT}/bailiff-first`, '-1');
    }
  });

  it('the runtime itself, by /proc/self/exe: linked statically, with the arguments of the container', async () => {
    const attempt = async (name: string): Promise<string[]> => {
      const one = Running.start(reexec(), [second.cgroup, second.root, '/proc/self/exe', name]);
      await one.exit();
      return one.lines;
    };
    expect(await attempt('/etc/secret')).toEqual(['open /etc/secret: ok']);
    pod.apply(POLICY);
    expect(await attempt('/etc/secret')).toEqual(['open /etc/secret: EPERM']);
    expect(await attempt('/etc/plain')).toEqual(['open /etc/plain: ok']);
    expect(pod.counts()).toEqual({ secret: 1 });
  });
});

describe('entering', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  let dir: string;
  let running: Running | null = null;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-entering-'));
    for (const name of ['/etc/secret', '/etc/plain']) writeFileSync(container.image(name), '');
  });
  afterEach(async () => {
    running?.go();
    await running?.exit();
    running = null;
    spawnSync('runc', words('delete', '--force', 'c'));
    rmSync(dir, { recursive: true });
  });

  const words = (...rest: string[]): string[] => ['--root', path.join(dir, 'state'), ...rest];

  /**
   * Starts a container by runc; its first process waits after these acts. @returns its lines until
   * then
   */
  async function started(capabilities: readonly string[], ...first: string[]): Promise<readonly string[]> {
    const spec = specOf(container, ['/bin/acts', ...first, 'wait'], [...CAPABILITIES, ...capabilities]);
    writeFileSync(path.join(dir, 'config.json'), JSON.stringify(spec));
    running = new Running(spawn('runc', words('run', '--bundle', dir, 'c')));
    await running.line('ready');
    return running.lines;
  }

  function expectHeld(command: string, ...args: string[]): void {
    const attempt = () => {
      const { stdout, stderr } = spawnSync(command, [...args, ...TRY], { encoding: 'utf8' });
      return `${stdout}${stderr}`.trim().split('\n');
    };
    expect(attempt()).toEqual(PASSED);
    pod.apply(POLICY);
    expect(attempt()).toEqual(REFUSED);
    expect(pod.counts()).toEqual({ secret: 1 });
  }

  it('runc exec of a program of the image', async () => {
    await started([]);
    expectHeld('runc', ...words('exec', 'c', '/bin/acts'));
  });

  it('runc exec of memory of the container, by /proc/<pid>/fd', async () => {
    await started([], 'hold', '/bin/acts');
    expectHeld('runc', ...words('exec', 'c', '/proc/1/fd/77'));
  });

  it('runc exec of a file of a child that has namespaces of its own, by /proc/<pid>/root', async () => {
    const map = (name: string, text: string) => ['write', `/proc/self/${name}`, text];
    const ids = [...map('setgroups', 'deny'), ...map('gid_map', '0 0 1'), ...map('uid_map', '0 0 1')];
    const own = ['child', 'unshare-user', ...ids, 'tmpfs', '/volume', 'copy', '/bin/acts', '/volume/tool'];
    const lines = await started(['CAP_SETFCAP'], ...own);
    expect(lines.filter((line) => !/: ok$/.test(line))).toEqual(['ready']);
    const [, child = ''] = /^child (\d+): ok$/m.exec(lines.join('\n')) ?? [];
    expectHeld('runc', ...words('exec', 'c', `/proc/${child}/root/volume/tool`));
  });

  it("nsenter from the host: a program that runs in the container's mount namespace belongs to the container", async () => {
    running = container.start(['/bin/acts', 'wait']);
    await running.line('ready');
    expectHeld('nsenter', '--mount', '--target', `${running.child.pid}`, '/bin/acts');
  });
});
