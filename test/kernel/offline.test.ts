// `collector status` on pins that it cannot read: one line with a remedy, and no stack trace.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BpfMap, detachAll, mountBpffs, openSpoofObject } from '@bailiff/bpf';
import { EXIT } from '@bailiff/service';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nodeArgs } from '../../tools/children.ts';
import { command } from './harness/processes.ts';

describe('offline status', () => {
  const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-bpffs-'));
  const stateDir = mkdtempSync(path.join(tmpdir(), 'bailiff-state-'));
  const pinDir = path.join(bpffs, 'spoof');
  beforeAll(() => mountBpffs(bpffs));
  beforeEach(() => {
    detachAll(pinDir);
    openSpoofObject({ pinDir, maxInterfaces: 16 }).close();
  });
  afterAll(async () => {
    detachAll(pinDir);
    await command('umount', bpffs);
    rmdirSync(bpffs);
    rmSync(stateDir, { recursive: true });
  });

  const status = () => {
    const flags = ['--json', '--bpf-dir', pinDir, '--state-dir', stateDir];
    const argv = [...nodeArgs('apps/collector/src/main.ts'), 'status', ...flags];
    const { status: exit, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 30_000 });
    return { exit, stdout, lines: stderr.trimEnd().split('\n') };
  };

  it('control - complete pins are shown', () => {
    const { exit, stdout } = status();
    expect(exit).toBe(EXIT.ok);
    expect(JSON.parse(stdout)).toMatchObject({ bpfDir: pinDir, interfaces: [] });
  });

  it('a missing map is named in one line, with a remedy', () => {
    unlinkSync(path.join(pinDir, 'maps', 'counters'));
    const { exit, lines } = status();
    expect(lines).toEqual([expect.stringMatching(/^collector: .*missing: counters: restart the collector/)]);
    expect(exit).toBe(EXIT.dependencyUnreachable);
  });

  it('another ABI is reported in one line, with a remedy', () => {
    {
      using meta = BpfMap.openPinned(path.join(pinDir, 'maps', 'meta'));
      const value = meta.get(Buffer.alloc(4)) as Buffer;
      value.writeUInt32LE(99, 12);
      meta.set(Buffer.alloc(4), value);
    }
    const { exit, lines } = status();
    expect(lines).toEqual([expect.stringMatching(/^collector: .*ABI 99, not \d+.*detach --all/)]);
    expect(exit).toBe(EXIT.dependencyUnreachable);
  });
});
