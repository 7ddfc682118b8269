// `collector detach --all`, `attach` and a start on pins: a wrong directory or a missing right
// never looks like success.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { detachAll, mountBpffs, openSpoofObject } from '@bailiff/bpf';
import { EXIT } from '@bailiff/service';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DetachMarker } from '../../apps/collector/src/offline/detach-marker.ts';
import { readBootId } from '../../apps/collector/src/process/boot.ts';
import { nodeArgs } from '../../tools/children.ts';
import { command } from './harness/processes.ts';

const NOBODY = 65_534;

describe('offline detach', () => {
  const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-bpffs-'));
  const stateDir = mkdtempSync(path.join(tmpdir(), 'bailiff-state-'));
  const pinDir = path.join(bpffs, 'spoof');
  const marker = () => new DetachMarker(stateDir, pinDir);
  beforeAll(() => mountBpffs(bpffs));
  beforeEach(() => {
    marker().clear();
    detachAll(pinDir);
    mkdirSync(path.join(stateDir, readBootId()), { recursive: true });
    openSpoofObject({ pinDir, maxInterfaces: 16 }).close();
  });
  afterAll(async () => {
    marker().clear();
    detachAll(pinDir);
    await command('umount', bpffs);
    rmdirSync(bpffs);
    rmSync(stateDir, { recursive: true });
  });

  const run = (argv: string[], more: { uid?: number } = {}) => {
    const args = [...nodeArgs('apps/collector/src/main.ts'), ...argv];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      timeout: 30_000,
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      ...more,
    });
    return { exit: status, stdout, stderr };
  };
  const detach = (bpfDir = pinDir, state = stateDir) =>
    run(['detach', '--all', '--bpf-dir', bpfDir, '--state-dir', state]);

  it('control - detach removes the pins and keeps the marker, also when repeated; attach removes the marker', () => {
    expect(detach()).toMatchObject({
      exit: EXIT.ok,
      stderr: '',
      stdout: expect.stringMatching(/^removed 0 links, 3 pr/),
    });
    expect(readdirSync(pinDir)).toEqual(['detached']);
    expect(detach()).toMatchObject({
      exit: EXIT.ok,
      stdout: expect.stringMatching(/^nothing is pinned.*detached by an/),
    });
    const attach = ['attach', '--bpf-dir', pinDir, '--state-dir', stateDir];
    expect(run(attach).stdout).toBe('the collector may attach again\n');
    expect([marker().reason(), run(attach).stdout]).toEqual(['', `nothing is detached by ${stateDir} and ${pinDir}\n`]);
  });

  it('a wrong state directory - the marker among the pins holds, and the message says that a reboot ends it', () => {
    const { exit, stderr } = detach(pinDir, path.join(stateDir, 'elsewhere'));
    expect(exit).toBe(EXIT.ok);
    expect(stderr).toMatch(/no collector has state in .*elsewhere: the node is detached only until it reboots/);
    expect(new DetachMarker('/proc/nonexistent', pinDir).reason()).toContain('collector attach');
  });

  it('a wrong pin directory - nothing is removed, no marker is left, and the message names the directory', () => {
    const wrong = path.join(bpffs, 'wrong');
    const { exit, stdout, stderr } = detach(wrong);
    expect([exit, stdout]).toEqual([EXIT.dependencyUnreachable, '']);
    expect(stderr).toContain(`nothing is pinned under ${wrong}`);
    expect(marker().reason()).toBe('');
  });

  it('a directory outside a bpffs keeps its files', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-plain-'));
    mkdirSync(path.join(dir, 'maps'));
    const file = path.join(dir, 'maps', 'precious');
    writeFileSync(file, '');
    expect(detach(dir)).toMatchObject({ exit: EXIT.badConfiguration, stderr: expect.stringContaining('on a bpffs') });
    expect(existsSync(file)).toBe(true);
    rmSync(dir, { recursive: true });
  });

  it('without the right - exit 4, a remedy, and nothing is removed', (context) => {
    const [main = ''] = nodeArgs('apps/collector/src/main.ts').slice(-1);
    const isReadable = spawnSync('test', ['-r', main], { uid: NOBODY }).status === 0;
    if (!isReadable) context.skip('optional: the workspace is readable for root only: clone it elsewhere');
    chmodSync(stateDir, 0o755);
    for (const argv of [['detach', '--all'], ['status']]) {
      const { exit, stderr } = run([...argv, '--bpf-dir', pinDir, '--state-dir', stateDir], { uid: NOBODY });
      expect(exit, stderr).toBe(EXIT.missingPrivilege);
      expect(stderr).toMatch(/^collector: .*run this as root.*\n$/);
    }
    expect(readdirSync(path.join(pinDir, 'maps')).length).toBeGreaterThan(5);
  });

  it('the directory is the mount point itself: all pins are removed, and keeping the directory is no failure', async () => {
    const mount = mkdtempSync(path.join(tmpdir(), 'bailiff-bpffs-'));
    mountBpffs(mount);
    try {
      openSpoofObject({ pinDir: mount, maxInterfaces: 16 }).close();
      expect(detachAll(mount).failures).toEqual([]);
      for (const name of ['links', 'maps', 'programs']) expect(readdirSync(mount)).not.toContain(name);
    } finally {
      await command('umount', mount);
      rmdirSync(mount);
    }
  });

  it.each([
    ['a directory on another file system', () => stateDir],
    ['no directory', () => '/proc/nonexistent/bailiff'],
  ])('a collector with %s as its pin directory exits with 6 and a remedy, without a stack trace', (_, dir) => {
    const flags = ['--node-name', 'n', '--nats-url', 'nats://127.0.0.1:1', '--metrics-address', ''];
    const password = path.join(stateDir, 'password');
    writeFileSync(password, 'x', { mode: 0o600 });
    const bus = ['--nats-user', 'u', '--nats-password-file', password];
    const { exit, stdout, stderr } = run([...flags, ...bus, '--bpf-dir', dir(), '--state-dir', stateDir]);
    expect([exit, stderr]).toEqual([
      EXIT.badConfiguration,
      expect.stringMatching(/^collector: .*not on a bpffs: mount one.*\n$/),
    ]);
    expect(stdout).not.toContain('    at ');
    rmSync(password);
  });

  it.each(['status', 'detach', 'attach'])('%s --help prints its usage', (name) => {
    expect(run([name, '--help'])).toMatchObject({
      exit: EXIT.ok,
      stderr: '',
      stdout: expect.stringMatching(/^usage: /),
    });
  });
});
