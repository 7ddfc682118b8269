// A real runc: containers start, and are entered, under a policy that denies all that runc itself does before the container's
// first program; and what runs there is held from its first instruction on.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acts, type Container, type Pod, Running } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

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
const CAPABILITIES = ['CAP_CHOWN', 'CAP_SETUID', 'CAP_SETGID', 'CAP_NET_BIND_SERVICE', 'CAP_KILL'];

const specOf = (container: Container, args: readonly string[]) => ({
  ociVersion: '1.0.2',
  process: {
    ...{ terminal: false, user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' },
    capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
    noNewPrivileges: true,
  },
  root: { path: container.root, readonly: false },
  hostname: 'pod',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue' },
  ],
  linux: {
    cgroupsPath: path.join('/', path.relative('/sys/fs/cgroup', container.cgroup)),
    namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
    maskedPaths: ['/proc/kcore'],
    readonlyPaths: ['/proc/sys'],
  },
});

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
  const bundle = (...args: string[]) =>
    writeFileSync(path.join(dir, 'config.json'), JSON.stringify(specOf(container, ['/bin/acts', ...args])));
  const said = ({ stdout, stderr }: { stdout: string; stderr: string }) => `${stdout}${stderr}`.trim().split('\n');

  it('start - a container starts under the policy and is held, and without it is not', () => {
    bundle(...TRY);
    expect(said(runc('run', '--bundle', dir, 'c'))).toEqual(PASSED);
    pod.apply(POLICY);
    expect(said(runc('run', '--bundle', dir, 'c'))).toEqual(REFUSED);
    expect(pod.counts()['changes']).toBe(1);
  });

  it('exec - a running container is entered under the policy, and what is run there is held', async () => {
    pod.apply(POLICY);
    bundle('wait', ...TRY);
    const main = new Running(spawn('runc', words('run', '--bundle', dir, 'c')));
    await main.line('ready');
    expect(said(runc('exec', 'c', '/bin/acts', ...TRY))).toEqual(REFUSED);
    const refused = runc('exec', 'c', '/bin/denied');
    expect([refused.status === 0, `${refused.stderr}`]).toEqual([false, expect.stringContaining('not permitted')]);
    main.go();
    await main.exit();
    expect(main.lines).toEqual(['ready', 'wait : ok', ...REFUSED]);
  });
});
