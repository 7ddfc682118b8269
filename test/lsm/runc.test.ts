// A real runc: containers start, and are entered, under a policy that denies all steps of runc
// before the container's first program. The program is held from its first instruction on.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acts, type Container, type Pod, Running } from './harness/rig.ts';
import { CAPABILITIES, specOf } from './harness/runc.ts';
import { useRig } from './harness/use-rig.ts';
import { readySet } from './scenarios-rig.ts';

/** Mounts, capabilities, sockets, namespaces, every change of a file, and every program but two. */
const POLICY: RuntimePolicyInput = {
  defaultPosture: { execute: 'block', network: 'block', capability: 'block', kernel: 'block' },
  rules: [
    { name: 'programs', action: 'allow', execute: { paths: ['/bin/acts', '/bin/fine'] } },
    { name: 'changes', action: 'block', file: { directories: ['/'], recursive: true, readOnly: true } },
  ],
};
const TRY = ['run', '/bin/denied', ',', 'run', '/bin/fine', ',', 'copy', '/bin/acts', '/tmp/x'];
const REFUSED = ['run /bin/denied: EPERM', 'run /bin/fine: ok', 'copy /tmp/x: EPERM'];
const PASSED = ['run /bin/denied: ok', 'run /bin/fine: ok', 'copy /tmp/x: ok'];
describe('runc', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  let dir: string;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    for (const name of ['/bin/denied', '/bin/fine']) container.install(acts(), name);
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-runc-'));
  });
  afterEach(() => {
    runc('delete', '--force', 'c');
    rmSync(dir, { recursive: true });
  });

  const words = (...rest: string[]): string[] => ['--root', path.join(dir, 'state'), ...rest];
  const runc = (...rest: string[]) => spawnSync('runc', words(...rest), { encoding: 'utf8' });
  const bundle = (...args: string[]) => bundleWith(CAPABILITIES, ...args);
  const bundleWith = (capabilities: readonly string[], ...args: string[]) => {
    const spec = specOf(container, ['/bin/acts', ...args], capabilities);
    writeFileSync(path.join(dir, 'config.json'), JSON.stringify(spec));
  };
  const printed = ({ stdout, stderr }: { stdout: string; stderr: string }) => `${stdout}${stderr}`.trim().split('\n');

  it('start - a container starts under the policy and is held, and without it is not', () => {
    bundle(...TRY);
    expect(printed(runc('run', '--bundle', dir, 'c'))).toEqual(PASSED);
    pod.apply(POLICY);
    expect(printed(runc('run', '--bundle', dir, 'c'))).toEqual(REFUSED);
    expect(pod.counts()['changes']).toBe(1);
  });

  it('exec - a running container is entered under the policy, and the new program is held', async () => {
    pod.apply(POLICY);
    bundle('wait', ...TRY);
    const main = new Running(spawn('runc', words('run', '--bundle', dir, 'c')));
    await main.line('ready');
    expect(printed(runc('exec', 'c', '/bin/acts', ...TRY))).toEqual(REFUSED);
    const refused = runc('exec', 'c', '/bin/denied');
    expect([refused.status === 0, `${refused.stderr}`]).toEqual([false, expect.stringContaining('not permitted')]);
    main.go();
    await main.exit();
    expect(main.lines).toEqual(['ready', 'wait : ok', ...REFUSED]);
  });

  /**
   * About operations of the entered program itself: programs that it starts belong to the container
   * anyway.
   */
  const ONE: RuntimePolicyInput = {
    rules: [{ name: 'secret', action: 'block', file: { paths: ['/etc/secret'], operations: ['read'] } }],
  };
  const READ = ['map-plain', '/etc/secret', 'map-plain', '/etc/plain'];
  const HELD = ['map-plain /etc/secret: EPERM', 'map-plain /etc/plain: ok'];
  const files = () => {
    for (const name of ['/etc/secret', '/etc/plain']) writeFileSync(container.image(name), '');
  };

  it("exec - into a container whose first process left the pod's cgroup and closed it, is held", async () => {
    files();
    pod.apply(ONE);
    const controllers = `/tmp/cgroup/${path.relative('/sys/fs/cgroup', container.cgroup)}/cgroup.subtree_control`;
    bundleWith(
      [...CAPABILITIES, 'CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE'],
      'cgroup',
      '.',
      'write',
      controllers,
      '+memory',
      'wait',
    );
    const main = new Running(spawn('runc', words('run', '--bundle', dir, 'c')));
    await main.line('ready');
    expect(main.lines).toEqual(['cgroup .: ok', `write ${controllers}: ok`, 'ready']);
    expect(printed(runc('exec', 'c', '/bin/acts', ...READ))).toEqual(HELD);
    main.go();
    await main.exit();
    expect(pod.counts()).toEqual({ secret: 1 });
  });

  it('exec - a read-only tmpfs that the container mounted over its root, in namespaces of its own, is no image', async () => {
    const own = ['setgroups', 'deny', 'uid_map', '0 0 1', 'gid_map', '0 0 1'];
    const maps = [0, 2, 4].flatMap((at) => ['write', `/proc/self/${own[at]}`, `${own[at + 1]}`]);
    const dirs = ['bin', 'proc', 'dev'].flatMap((name) => ['mkdir', `/volume/${name}`]);
    const filled = ['tmpfs', '/volume', ...dirs, 'copy', '/bin/acts', '/volume/bin/dropped'];
    const closed = ['rbind', '/proc', '/volume/proc', 'rbind', '/dev', '/volume/dev', 'read-only', '/volume'];
    bundleWith(
      [...CAPABILITIES, 'CAP_SETFCAP'],
      'wait',
      'unshare-user',
      ...maps,
      ...filled,
      ...closed,
      'move',
      '/volume',
      '/',
      'wait',
    );
    const entered = async (held: boolean) => {
      const main = new Running(spawn('runc', words('run', '--bundle', dir, 'c')));
      await main.line('ready');
      expect(runc('exec', 'c', '/bin/fine').status).toBe(0);
      main.go();
      await main.until((lines) => lines.filter((line) => line === 'ready').length === 2);
      expect(main.lines.filter((line) => !/: ok$/.test(line))).toEqual(['ready', 'ready']);
      const dropped = runc('exec', 'c', '/bin/dropped');
      expect([dropped.status === 0, `${dropped.stderr}`]).toEqual([
        !held,
        expect.stringContaining(held ? 'not permitted' : ''),
      ]);
      main.go();
      await main.exit();
    };
    await entered(false);
    pod.put(readySet('immutable-image'));
    await entered(true);
    expect(pod.counts()).toEqual({ drift: 1 });
  });

  it('exec - an overlay that the container moved over its root is no image', async () => {
    const dirs = ['/tmp/more', '/tmp/more/bin', '/tmp/more/proc', '/tmp/more/dev', '/tmp/new'];
    const put = [...dirs.flatMap((name) => ['mkdir', name]), 'copy', '/bin/acts', '/tmp/more/bin/dropped'];
    const mounted = ['overlay', 'lowerdir=/tmp/more:/volume', '/tmp/new', 'proc', '/tmp/new/proc'];
    const moved = ['bind', '/dev', '/tmp/new/dev', 'move', '/tmp/new', '/'];
    bundleWith([...CAPABILITIES, 'CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE'], ...put, ...mounted, 'wait', ...moved, 'wait');
    pod.put(readySet('immutable-image'));
    const main = new Running(spawn('runc', words('run', '--bundle', dir, 'c')));
    await main.line('ready');
    expect(runc('exec', 'c', '/bin/fine').status).toBe(0);
    main.go();
    await main.until((lines) => lines.filter((line) => line === 'ready').length === 2);
    expect(main.lines.filter((line) => !/: ok$/.test(line))).toEqual(['ready', 'ready']);
    const dropped = runc('exec', 'c', '/bin/dropped');
    expect([dropped.status === 0, `${dropped.stderr}`]).toEqual([false, expect.stringContaining('not permitted')]);
    main.go();
    await main.exit();
    expect(pod.counts()).toEqual({ drift: 1 });
  });
});
