/**
 * Loading the addon, its interface compared with native.ts, feature probes, and facts of the
 * system.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { native, nativePath } from '../src/core/native.ts';
import {
  boottimeNs,
  cgroupId,
  hasKernelFunction,
  isBpffs,
  lsmHooks,
  mountBpffs,
  possibleCpus,
  probeFeatures,
  probeHelper,
  probeLsm,
  probeMapType,
  probeTcx,
} from '../src/index.ts';
import { needsRoot, resultOf, TempDir } from './helpers.ts';

const dir = new TempDir();
afterAll(() => dir[Symbol.dispose]());

/** Method names of an interface in native.ts, in order. */
function declared(name: string): string[] {
  const source = readFileSync(new URL('../src/core/native.ts', import.meta.url), 'utf8');
  const body = source.match(new RegExp(`export interface ${name} \\{\\n([^]*?)\\n\\}`))?.[1];
  if (body === undefined) throw new Error(`native.ts declares no ${name}`);
  return [...body.matchAll(/^ {2}(\w+)\(/gm)].map((match) => match[1]!);
}

/** Method names that a class of the addon defines, in order, from its source; `close` is in their base. */
function defined(file: string): string[] {
  const source = readFileSync(new URL(`../native/binding/${file}.h`, import.meta.url), 'utf8');
  return [...source.matchAll(/addMethod\(prototype, "(\w+)"/g)].map((match) => match[1]!);
}

describe('native loading', () => {
  test('interface - the addon exports what native.ts declares, in the same order', () => {
    expect(Object.keys(native())).toEqual(declared('Native'));
  });

  test.each([
    ['NativeMap', 'map-wrap'],
    ['NativeProgram', 'program-wrap'],
    ['NativeLink', 'link-wrap'],
    ['NativeObject', 'object-wrap'],
    ['NativeRingReader', 'ring-wrap'],
    ['NativeLinkMonitor', 'monitor-wrap'],
  ])('interface - %s is declared as %s.h defines it', (name, file) => {
    expect([...defined(file), 'close']).toEqual(declared(name));
  });

  test('loading - from the build directory, or from the path in BAILIFF_NATIVE', async () => {
    const copy = `${dir.path}/moved.node`;
    copyFileSync(nativePath(), copy);
    expect(await resultOf('loading', 'load', { env: { BAILIFF_NATIVE: '' } })).toEqual({
      path: expect.stringContaining('/libs/bpf/build/Release/bailiff_bpf.node'),
      cpus: possibleCpus(),
    });
    expect(await resultOf('loading', 'load', { env: { BAILIFF_NATIVE: copy } })).toEqual({
      path: copy,
      cpus: possibleCpus(),
    });
  });

  test('loading - a missing or broken addon is NATIVE_MISSING with the build command', async () => {
    const broken = `${dir.path}/broken.node`;
    writeFileSync(broken, 'not an addon');
    for (const path of ['/proc/nonexistent/addon.node', broken]) {
      expect(await resultOf('loading', 'load', { env: { BAILIFF_NATIVE: path } })).toMatchObject({
        path,
        code: 'NATIVE_MISSING',
        message: expect.stringMatching(/npx nx run @bailiff\/bpf:build:native/),
      });
    }
  });
});

describe('native system', () => {
  beforeEach(needsRoot);

  test('probes - features of network enforcement are available here', () => {
    const features = probeFeatures();
    const missing = features.filter((feature) => !feature.available && feature.feature !== 'bpf-lsm');
    expect(missing).toEqual([]);
    expect(probeTcx()).toEqual({ feature: 'tcx', available: true, errnoName: null, hint: null });
    expect(features.length).toBeGreaterThan(8);
  });

  test('probes - a feature that the kernel lacks is unavailable with a reason', () => {
    expect(native().probeMapType(9999)).not.toBe(0);
    expect(native().probeProgramType(9999)).not.toBe(0);
    expect(native().probeHelper(3, 99999)).not.toBe(0);
    expect(probeLsm('no_such_hook')).toMatchObject({ available: false, errnoName: 'ENOENT' });
    expect(probeMapType('lpmTrie').available && probeHelper('schedCls', 'skbLoadBytes').available).toBe(true);
  });

  test('probes - LSM is available or has a remedy', () => {
    const lsm = probeLsm();
    if (lsm.available) expect(lsm.errnoName).toBeNull();
    else expect([lsm.errnoName, lsm.hint]).toEqual([expect.stringMatching(/^E/), expect.anything()]);
  });

  test('lsmHooks - names the hooks that the kernel has', () => {
    const hooks = lsmHooks();
    expect(hooks).toEqual(expect.arrayContaining(['file_open', 'bprm_check_security', 'path_mkdir']));
    expect(hooks).not.toContain('no_such_hook');
  });

  test('hasKernelFunction - knows the functions of the kernel', () => {
    expect([hasKernelFunction('inet_sendmsg'), hasKernelFunction('no_such_function')]).toEqual([true, false]);
  });

  test('boottimeNs - is the clock of /proc/uptime and moves on', () => {
    const uptimeS = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
    const now = boottimeNs();
    expect(Number(now) / 1e9).toBeGreaterThan(uptimeS - 1);
    expect(Number(now) / 1e9).toBeLessThan(uptimeS + 10);
    expect(boottimeNs()).toBeGreaterThan(now);
  });

  test('cgroupId - is the inode number of a cgroup2 directory, and an error elsewhere', async () => {
    const mountPoint = `${dir.path}/cgroup`;
    mkdirSync(mountPoint);
    expect(await resultOf('loading', 'cgroup', { args: [mountPoint] })).toEqual({ isInode: true, differs: true });
    expect(() => cgroupId('/proc/nonexistent')).toThrow(
      expect.objectContaining({ code: 'SYSTEM', errnoName: 'ENOENT' }),
    );
    expect(() => cgroupId('/tmp')).toThrow(expect.objectContaining({ code: 'SYSTEM', errnoName: 'EINVAL' }));
  });

  test('bpffs - mounts on a directory, in mounts of its own', async () => {
    const mountPoint = `${dir.path}/bpffs`;
    mkdirSync(mountPoint);
    expect(await resultOf('loading', 'mount', { args: [mountPoint] })).toEqual([false, true]);
    expect(isBpffs(mountPoint)).toBe(false);
    expect(() => mountBpffs('/proc/nonexistent')).toThrow(
      expect.objectContaining({ code: 'SYSTEM', errnoName: 'ENOENT' }),
    );
  });

  test('releaseFilePages - resident memory falls by the file pages, and the process keeps working', async () => {
    const { releasedBytes, fellBytes, worked } = (await resultOf('loading', 'release')) as Record<string, number>;
    expect(releasedBytes).toBeGreaterThan(8_000_000);
    // The call itself and the measurement map some of them again.
    expect(fellBytes).toBeGreaterThan((releasedBytes as number) / 2);
    expect(worked).toBe(42);
  });
});
