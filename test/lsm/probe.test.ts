// The prerequisites of this folder: this kernel runs LSM programs, and the native binding loads,
// attaches and pins them.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BpfError, BpfLink, BpfObject, probeLsm } from '@bailiff/bpf';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compileBpf } from '../vm/compile.ts';

/** Slots of `hits` in probe.bpf.c. */
const SLOT = { deny_mkdir: 0, count_fork: 1, count_unlink: 2 } as const;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

describe('lsm probe', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-probe-'));
  let image: string;
  let object: BpfObject;

  beforeAll(() => {
    image = compileBpf(path.join(import.meta.dirname, 'fixtures/probe.bpf.c'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));
  beforeEach(() => {
    object = BpfObject.open(image);
    object.setGlobal('only_tgid', u32(process.pid));
    object.load();
  });
  afterEach(() => object.close());

  const attach = (name: keyof typeof SLOT | 'pass'): BpfLink => {
    using program = object.program(name);
    return program.attach();
  };
  const hits = (name: keyof typeof SLOT): bigint => {
    using map = object.map('hits');
    return map.get(u32(SLOT[name]))!.readBigUInt64LE();
  };
  const makeDirectory = () => {
    const target = mkdtempSync(path.join(dir, 'x'));
    rmdirSync(target);
  };
  /** The kernel detaches a program some time after its link is removed. */
  const allowed = () =>
    waitFor(
      () => {
        try {
          makeDirectory();
          return true;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
          return false;
        }
      },
      { what: 'the program to be off its hook' },
    );

  it('kernel - lists bpf among its security modules, and loads a program of that kind', () => {
    expect(readFileSync('/sys/kernel/security/lsm', 'utf8').split(',')).toContain('bpf');
    expect(probeLsm()).toMatchObject({ available: true });
  });

  it('attach - an lsm program denies until its link is closed', async () => {
    makeDirectory();
    {
      using _link = attach('deny_mkdir');
      expect(makeDirectory).toThrow('EPERM');
      expect(hits('deny_mkdir')).toBe(1n);
    }
    await allowed();
    const before = hits('deny_mkdir');
    makeDirectory();
    expect(hits('deny_mkdir')).toBe(before);
  });

  it('attach - a pinned link denies after its handle is closed, until the pin is removed', async () => {
    const pin = `/sys/fs/bpf/bailiff-probe-${process.pid}`;
    {
      // Closed here: an unclosed handle holds the link until garbage collection, also in the files
      // that this process runs next.
      using link = attach('deny_mkdir');
      link.pin(pin);
    }
    try {
      expect(makeDirectory).toThrow('EPERM');
      using again = BpfLink.openPinned(pin);
      using program = object.program('deny_mkdir');
      expect(again.info()).toMatchObject({ programId: program.info.id, hook: null });
    } finally {
      rmSync(pin);
    }
    await allowed();
  });

  it('attach - a tracepoint with BTF and a function entry count events, and none before', () => {
    const act = () => {
      writeFileSync(path.join(dir, 'file'), '');
      unlinkSync(path.join(dir, 'file'));
      execFileSync('true');
    };
    act();
    using _fork = attach('count_fork');
    using _unlink = attach('count_unlink');
    expect([hits('count_fork'), hits('count_unlink')]).toEqual([0n, 0n]);
    act();
    expect([hits('count_fork'), hits('count_unlink')]).toEqual([1n, 1n]);
  });

  it('attach - a program without a hook is rejected as BPF_ATTACH', () => {
    let refused: unknown;
    try {
      attach('pass').close();
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(BpfError);
    expect(refused).toMatchObject({ code: 'BPF_ATTACH', errnoName: 'EINVAL' });
  });
});
