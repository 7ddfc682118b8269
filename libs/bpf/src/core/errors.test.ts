import { describe, expect, test } from 'vitest';
import { BpfError, errnoName, hintFor, lsmHintFor, NativeMissingError } from './errors.ts';

describe('bpf errors', () => {
  test('an LSM program that is refused - is the kernel, as it was booted; other reasons are those of any program', () => {
    for (const errno of ['EPERM', 'EACCES']) expect(lsmHintFor(errno)).toMatch(/is bpf in the lsm= list/);
    expect(lsmHintFor('ENOSPC')).toBe(hintFor('BPF_LOAD', 'ENOSPC'));
  });

  test.each([
    ['object.open', 'BPF_OPEN'],
    ['object.reuseMap', 'BPF_OPEN'],
    ['object.load', 'BPF_LOAD'],
    ['map.set', 'BPF_MAP'],
    ['map.create', 'BPF_MAP'],
    ['map.pin', 'BPF_PIN'],
    ['link.openPinned', 'BPF_PIN'],
    ['program.testRun', 'BPF_PROGRAM'],
    ['tcx.attach', 'BPF_ATTACH'],
    ['clsact.detach', 'BPF_ATTACH'],
    ['link.update', 'BPF_LINK'],
    ['ring.open', 'BPF_RING'],
    ['netlink.getNsid', 'NETLINK'],
    ['system.cgroupId', 'SYSTEM'],
    ['possibleCpus', 'SYSTEM'],
    ['closed', 'BPF_CLOSED'],
  ])('code - %s is %s', (operation, code) => {
    expect(new BpfError({ operation, errno: 22 }).code).toBe(code);
  });

  test.each([
    [1, 'EPERM'],
    [11, 'EAGAIN'],
    [95, 'EOPNOTSUPP'],
    [524, 'ENOTSUPP'],
    [9999, 'E9999'],
  ])('errno - %d is %s', (errno, name) => {
    expect(errnoName(errno)).toBe(name);
  });

  test('message - operation, reason, what it was about, and a hint', () => {
    const error = new BpfError({ operation: 'map.set', errno: 7, detail: 'counters' });
    expect(error.message).toBe('map.set: E2BIG (counters): the map is full');
    expect(error).toMatchObject({ name: 'BpfError', errno: 7, detail: 'counters', verifierLog: null });
    expect(new BpfError({ operation: 'map.get', errno: 14 }).message).toBe('map.get: EFAULT');
    expect(new BpfError({ operation: 'closed', errno: 9, detail: 'BpfMap is closed' }).message).toBe(
      'BpfMap is closed',
    );
  });

  test('hint - EPERM names the capability that the operation needs', () => {
    expect(hintFor('BPF_LOAD', 'EPERM')).toContain('CAP_BPF and CAP_NET_ADMIN');
    expect(hintFor('NETLINK', 'EPERM')).toContain('CAP_NET_ADMIN');
    expect(hintFor('SYSTEM', 'EPERM')).toContain('CAP_SYS_ADMIN');
    expect(hintFor('BPF_PIN', 'EPERM')).toContain('bpffs');
    expect(hintFor('BPF_MAP', 'EFAULT')).toBeNull();
  });

  test('missing addon - says where it was looked for and how to build it', () => {
    const cause = new Error('no such file\nRequire stack:\n- x');
    const error = new NativeMissingError('/opt/addon.node', cause);
    expect(error).toMatchObject({ code: 'NATIVE_MISSING', path: '/opt/addon.node', cause });
    expect(error.message).toMatch(/\/opt\/addon\.node .*\(no such file\).*build:native.*BAILIFF_NATIVE/);
    expect(error.message).not.toContain('\n');
  });
});
