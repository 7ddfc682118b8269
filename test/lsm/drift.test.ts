// Drift: a file that is in no layer of the image cannot become code, whatever loads it. Each way
// lands without the policy.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { acts, type Container, type Pod, source } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const POLICY: RuntimePolicyInput = { rules: [{ name: 'drift', action: 'block', drift: {} }] };
const VOLUMES_ALLOWED: RuntimePolicyInput = {
  rules: [{ name: 'drift', action: 'block', drift: { allowVolumes: true } }],
};
const ONLY_MEMORY: RuntimePolicyInput = { rules: [{ name: 'memory', action: 'block', drift: { onlyMemory: true } }] };
/** An overlay that a user namespace mounts on a tmpfs: neither tmpfs itself, nor of the host. */
const OWN_OVERLAY = [
  ...['copy', '/bin/acts', '/dev/shm/y', 'mkdir', '/tmp/own', 'unshare-user'],
  ...['overlay', 'lowerdir=/dev/shm:/etc', '/tmp/own', 'run', '/tmp/own/y', ',', 'run', '/bin/acts', ','],
];
const LOADER = '/lib64/ld-linux-x86-64.so.2';

/** Every way to code from outside the image that needs no library. */
const WAYS = [
  ...['copy', '/bin/acts', '/tmp/x', 'run', '/tmp/x', ',', 'map', '/tmp/x', 'mprotect', '/tmp/x'],
  ...['copy', '/bin/acts', '/dev/shm/x', 'run', '/dev/shm/x', ','],
  ...['copy', '/bin/acts', '/disk/x', 'run', '/disk/x', ','],
  ...['memfd', '/bin/acts', 'deleted', '/bin/gone', 'run', '/bin/acts', ','],
];
const forge = (): string => compileProgram(path.join(import.meta.dirname, 'programs/forge.c'), { flags: ['-static'] });
const outcomes = (lines: string[]) =>
  Object.fromEntries(lines.filter((line) => !line.startsWith('copy')).map((line) => line.split(': ')));

describe('drift', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    container.install(acts(), '/bin/gone');
  });

  it('control - every way runs without the policy', async () => {
    const ended = outcomes(await container.acts(...WAYS));
    expect(new Set(Object.values(ended))).toEqual(new Set(['ok']));
    expect(Object.keys(ended)).toHaveLength(8);
  });

  it('drift - upper layer, tmpfs, volume, memfd and a deleted program are refused, the image runs', async () => {
    pod.apply(POLICY);
    expect(outcomes(await container.acts(...WAYS))).toEqual({
      'run /tmp/x': 'EPERM',
      'map /tmp/x': 'EPERM',
      'mprotect /tmp/x': 'EPERM',
      'run /dev/shm/x': 'EPERM',
      'run /disk/x': 'EPERM',
      'memfd memfd': 'EPERM',
      'deleted deleted': 'EPERM',
      'run /bin/acts': 'ok',
    });
    expect(pod.counts()).toEqual({ drift: 7 });
  });

  it('drift - with allowVolumes a volume is no drift, tmpfs and the upper layer are', async () => {
    pod.apply(VOLUMES_ALLOWED);
    expect(outcomes(await container.acts(...WAYS))).toMatchObject({
      'run /tmp/x': 'EPERM',
      'run /dev/shm/x': 'EPERM',
      'run /disk/x': 'ok',
      'memfd memfd': 'EPERM',
    });
  });

  it('memory - with onlyMemory, tmpfs, memfd and a deleted program are refused; upper layer, volume and image run', async () => {
    pod.apply(ONLY_MEMORY);
    expect(outcomes(await container.acts(...WAYS))).toEqual({
      'run /tmp/x': 'ok',
      'map /tmp/x': 'ok',
      'mprotect /tmp/x': 'ok',
      'run /dev/shm/x': 'EPERM',
      'run /disk/x': 'ok',
      'memfd memfd': 'EPERM',
      'deleted deleted': 'EPERM',
      'run /bin/acts': 'ok',
    });
    expect(pod.counts()).toEqual({ memory: 3 });
  });

  it('memory - what a user namespace mounts is no volume: an overlay on a tmpfs runs without the policy and not with it', async () => {
    expect(outcomes(await container.acts(...OWN_OVERLAY))).toMatchObject({ 'run /tmp/own/y': 'ok' });
    const next = pod.container();
    pod.apply(ONLY_MEMORY);
    expect(outcomes(await next.acts(...OWN_OVERLAY))).toMatchObject({
      'run /tmp/own/y': 'EPERM',
      'run /bin/acts': 'ok',
    });
    expect(pod.counts()).toEqual({ memory: 1 });
  });

  it('drift - a changed program of the image is no longer image', async () => {
    pod.apply(POLICY);
    const lines = await container.acts('copy', '/bin/acts', '/bin/gone', 'run', '/bin/gone', ',', 'run', '/bin/acts');
    expect(outcomes(lines)).toEqual({ 'run /bin/gone': 'EPERM', 'run /bin/acts': 'ok' });
  });

  it('memory - shared, of huge pages or of /dev/zero is treated as private memory; a file without a name is not', async () => {
    writeFileSync('/proc/sys/vm/nr_hugepages', '8');
    execFileSync('mknod', [path.join(container.root, 'dev/shm/zero'), 'c', '1', '5']);
    const kinds = ['private', 'shared', 'huge'];
    const memory = kinds.flatMap((kind) => ['map-memory', kind, 'mprotect-memory', kind]);
    const words = [...memory, 'map', '/dev/shm/zero', 'mprotect', '/dev/shm/zero', 'memfd', '/bin/acts'];
    const control = outcomes(await container.acts(...words));
    expect([Object.keys(control).length, ...new Set(Object.values(control))]).toEqual([9, 'ok']);
    pod.apply(POLICY);
    expect(outcomes(await container.acts(...words))).toEqual({ ...control, 'memfd memfd': 'EPERM' });
    expect(pod.counts()).toEqual({ drift: 1 });
    writeFileSync('/proc/sys/vm/nr_hugepages', '0');
  });

  it('own program - a process with another file as its own executable cannot map it either', async () => {
    container.install(forge(), '/bin/forge');
    expect(await container.acts('copy', '/bin/acts', '/tmp/x')).toEqual(['copy /tmp/x: ok']);
    expect(await container.run(['/bin/forge', '/tmp/x'])).toEqual(['exit 0']);
    pod.apply(POLICY);
    expect(await container.run(['/bin/forge', '/tmp/x'])).toEqual([`exit ${constants.errno.EPERM}`]);
    expect(await container.run(['/bin/forge', '/bin/acts'])).toEqual(['exit 0']);
    expect(pod.counts()).toEqual({ drift: 1 });
  });

  describe('libraries', () => {
    const evil = compileProgram(source('shared.c'), { flags: ['-shared', '-fPIC'] });
    const program = compileProgram(source('dynamic.c'));
    const [, libc = ''] = /(\/\S+\/libc\.so\.6)/.exec(execFileSync('ldd', [program], { encoding: 'utf8' })) ?? [];
    beforeEach(() => {
      container.install(LOADER, LOADER);
      container.install(libc, libc);
      container.install(program, '/bin/dynamic');
      container.install(evil, '/lib/evil.so');
    });
    const copies = ['copy', '/lib/evil.so', '/tmp/evil.so', 'copy', '/bin/dynamic', '/tmp/dynamic'];
    const prepare = async () =>
      expect((await container.acts(...copies)).every((line) => line.endsWith('ok'))).toBe(true);

    it('control - loader, preload and dlopen load files in /tmp', async () => {
      await prepare();
      expect(await container.run([LOADER, '/tmp/dynamic'])).toEqual(['dynamic: ok', 'exit 0']);
      expect(await container.run(['/bin/dynamic'], { LD_PRELOAD: '/tmp/evil.so' })).toContain('library: ok');
      expect(await container.run(['/bin/dynamic', '/tmp/evil.so'])).toContain('dlopen /tmp/evil.so: ok');
    });

    it('drift - the loader runs nothing from /tmp, and neither preload nor dlopen loads it; the image loads', async () => {
      await prepare();
      pod.apply(POLICY);
      expect(await container.run([LOADER, '/tmp/dynamic'])).toContain('exit 127');
      const preloaded = await container.run(['/bin/dynamic'], { LD_PRELOAD: '/tmp/evil.so' });
      expect(preloaded).not.toContain('library: ok');
      expect(preloaded).toContain('dynamic: ok');
      expect(await container.run(['/bin/dynamic', '/tmp/evil.so'])).toContain('dlopen /tmp/evil.so: refused');
      expect(await container.run(['/bin/dynamic', '/lib/evil.so'])).toContain('dlopen /lib/evil.so: ok');
      expect(await container.run([LOADER, '/bin/dynamic'])).toEqual(['dynamic: ok', 'exit 0']);
      expect(pod.counts()['drift']).toBeGreaterThanOrEqual(3);
    });
  });
});
