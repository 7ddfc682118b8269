// How other chained plugins broke, each against the installer on real directories.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { OWN_CONFLIST } from '@bailiff/vocabulary';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Installer } from './installer.ts';

const PRIMARY = '10-primary.conflist';
const list = (mtu: number, cniVersion = '1.0.0') =>
  JSON.stringify({ cniVersion, name: 'pods', plugins: [{ type: 'bridge', mtu }] });

describe('CNI installer', () => {
  let dir = '';
  let problems: string[] = [];
  let installed: string[] = [];
  let installers: Installer[] = [];
  let nowMs = 0;
  let onInstalled: (what: string) => void = () => undefined;
  const at = (...names: string[]) => path.join(dir, ...names);
  const conf = (name: string) => at('net.d', name);
  beforeEach(() => {
    dir = temporaryDirectory();
    for (const name of ['net.d', 'bin']) mkdirSync(at(name));
    writeFileSync(at('plugin'), 'plugin 1');
    problems = [];
    installed = [];
    installers = [];
    nowMs = 0;
    onInstalled = () => undefined;
  });
  afterEach(() => {
    for (const installer of installers) installer.close();
  });

  const start = () => {
    const installer = new Installer({
      plugin: at('plugin'),
      confDir: at('net.d'),
      binDir: at('bin'),
      settings: { socket: '/run/s', failurePolicy: 'open', timeoutMs: 1, restartTimeoutMs: 1, exemptNamespaces: [] },
      nowMs: () => nowMs,
      onInstalled: (what) => {
        installed.push(what);
        onInstalled(what);
      },
      onProblem: (_, reason) => problems.push(reason),
    });
    installers.push(installer);
    installer.start();
    return installer;
  };
  const own = () =>
    JSON.parse(readFileSync(conf(OWN_CONFLIST), 'utf8')) as {
      cniVersion: string;
      plugins: { mtu?: number; type: string }[];
    };
  const follows = (mtu: number) =>
    waitFor(() => own().plugins[0]?.mtu === mtu, { what: `mtu ${mtu}`, state: () => ({ problems, own: own() }) });

  it('installs binary and list, with modes that a runtime can use, and no other file', () => {
    writeFileSync(conf(PRIMARY), list(1));
    start();
    expect(own().plugins.map(({ type }) => type)).toEqual(['bridge', 'bailiff-cni']);
    expect(statSync(conf(OWN_CONFLIST)).mode & 0o777).toBe(0o644);
    expect([readFileSync(at('bin/bailiff-cni'), 'utf8'), statSync(at('bin/bailiff-cni')).mode & 0o777]).toEqual([
      'plugin 1',
      0o755,
    ]);
    expect(readFileSync(conf(PRIMARY), 'utf8'), 'the primary is not touched').toBe(list(1));
    expect([readdirSync(at('net.d')).sort(), readdirSync(at('bin'))]).toEqual([
      [OWN_CONFLIST, PRIMARY],
      ['bailiff-cni'],
    ]);
    expect(problems).toEqual([]);
  });

  it.each([0o600, 0o640, 0o644, 0o666])('the list is readable by no more users than the primary’s file: %o', (mode) => {
    writeFileSync(conf(PRIMARY), list(1));
    chmodSync(conf(PRIMARY), mode);
    const modeOf = () => statSync(conf(OWN_CONFLIST)).mode & 0o777;
    const installer = start();
    expect(modeOf()).toBe(mode & 0o644);
    // Another program opens it, or it was written by an older version.
    chmodSync(conf(OWN_CONFLIST), 0o666);
    installer.look();
    expect(modeOf()).toBe(mode & 0o644);
    chmodSync(conf(PRIMARY), 0o600);
    installer.look();
    expect(modeOf(), 'the primary’s file was closed meanwhile').toBe(0o600);
  });

  it('a second start and a second look change nothing', () => {
    writeFileSync(conf(PRIMARY), list(1));
    start().look();
    const before = [conf(OWN_CONFLIST), at('bin/bailiff-cni')].map((file) => statSync(file, { bigint: true }).ino);
    start().look();
    expect([conf(OWN_CONFLIST), at('bin/bailiff-cni')].map((file) => statSync(file, { bigint: true }).ino)).toEqual(
      before,
    );
    expect(installed).toHaveLength(2);
  });

  it('the primary appears after the collector, as on a new node', async () => {
    start();
    expect(existsSync(conf(OWN_CONFLIST))).toBe(false);
    expect(problems).toEqual([expect.stringMatching(/nothing to chain to yet/)]);
    writeFileSync(conf(PRIMARY), list(1));
    await waitFor(() => existsSync(conf(OWN_CONFLIST)));
    await follows(1);
  });

  it('the primary is rewritten in place, by rename, by parts and with another version: ours follows', async () => {
    writeFileSync(conf(PRIMARY), list(1));
    start();
    writeFileSync(conf(PRIMARY), list(2));
    await follows(2);
    writeFileSync(conf('.tmp'), list(3));
    renameSync(conf('.tmp'), conf(PRIMARY));
    await follows(3);
    const text = list(4, '1.1.0');
    writeFileSync(conf(PRIMARY), text.slice(0, 20));
    await waitFor(() => problems.some((problem) => problem.includes('not JSON')));
    expect(own().plugins[0]?.mtu, 'half a file changes nothing').toBe(3);
    writeFileSync(conf(PRIMARY), text);
    await follows(4);
    expect(own().cniVersion).toBe('1.1.0');
  });

  it('the primary was rewritten while no collector ran: ours stays in place and is corrected at the next start', () => {
    writeFileSync(conf(PRIMARY), list(1));
    start().close();
    writeFileSync(conf(PRIMARY), list(2));
    expect(
      own().plugins.map(({ type }) => type),
      'pods stay behind the plugin',
    ).toContain('bailiff-cni');
    start();
    expect(own().plugins[0]?.mtu).toBe(2);
  });

  it('a change between two looks whose event was lost is found by the next look', () => {
    writeFileSync(conf(PRIMARY), list(1));
    const installer = start();
    // No event can arrive before the next line: the process does not wait in between.
    writeFileSync(conf(PRIMARY), list(2));
    installer.look();
    expect(own().plugins[0]?.mtu).toBe(2);
  });

  it('the watch is armed before the first look: a change during it is followed', async () => {
    writeFileSync(conf(PRIMARY), list(1));
    onInstalled = (what) => {
      // The first look has read the primary and is about to end.
      if (what.includes(OWN_CONFLIST) && installed.length === 2) writeFileSync(conf(PRIMARY), list(2));
    };
    start();
    expect(own().plugins[0]?.mtu).toBe(1);
    await follows(2);
  });

  it('ours is removed by another program: it is restored', async () => {
    writeFileSync(conf(PRIMARY), list(1));
    start();
    rmSync(conf(OWN_CONFLIST));
    await waitFor(() => existsSync(conf(OWN_CONFLIST)));
    rmSync(at('bin/bailiff-cni'));
    installers[0]?.look();
    expect(existsSync(at('bin/bailiff-cni'))).toBe(true);
  });

  it('a program that removes ours each time ends in a problem, not in a loop', () => {
    writeFileSync(conf(PRIMARY), list(1));
    const installer = start();
    for (let i = 0; i < 20; i += 1) {
      rmSync(conf(OWN_CONFLIST), { force: true });
      installer.look();
    }
    expect(installed.filter((what) => what.includes(OWN_CONFLIST))).toHaveLength(6);
    expect(problems.at(-1)).toMatch(/keeps changing or removing .*cni\.exclusive/);
    nowMs += 61_000;
    installer.look();
    expect(existsSync(conf(OWN_CONFLIST)), 'it tries again later').toBe(true);
  });

  it('the primary is removed: ours stays until it returns', async () => {
    writeFileSync(conf(PRIMARY), list(1));
    const installer = start();
    rmSync(conf(PRIMARY));
    installer.look();
    expect(existsSync(conf(OWN_CONFLIST))).toBe(true);
    writeFileSync(conf(PRIMARY), list(2));
    await follows(2);
  });

  it('the directory is replaced: the new one is watched', async () => {
    writeFileSync(conf(PRIMARY), list(1));
    const installer = start();
    renameSync(at('net.d'), at('old'));
    mkdirSync(at('net.d'));
    writeFileSync(conf(PRIMARY), list(2));
    installer.look();
    expect(own().plugins[0]?.mtu).toBe(2);
    writeFileSync(conf(PRIMARY), list(3));
    await follows(3);
  });

  it('without the directory of plugins no list is written: it would fail every pod', () => {
    writeFileSync(conf(PRIMARY), list(1));
    rmSync(at('bin'), { recursive: true });
    const installer = start();
    expect(existsSync(conf(OWN_CONFLIST))).toBe(false);
    expect(problems).toEqual([expect.stringMatching(/cannot install the CNI plugin in .*bin: ENOENT/)]);
    mkdirSync(at('bin'));
    installer.look();
    expect(existsSync(conf(OWN_CONFLIST))).toBe(true);
  });

  it('without a directory of configurations it waits for one', () => {
    rmSync(at('net.d'), { recursive: true });
    const installer = start();
    expect(problems).toEqual([expect.stringMatching(/net\.d: ENOENT/)]);
    mkdirSync(at('net.d'));
    writeFileSync(conf(PRIMARY), list(1));
    installer.look();
    expect(existsSync(conf(OWN_CONFLIST))).toBe(true);
  });

  it('a directory that cannot be written is reported with the setting, and nothing is left in it', async () => {
    writeFileSync(conf(PRIMARY), list(1));
    // Where names are taken by a directory, the write fails for root too.
    mkdirSync(conf(OWN_CONFLIST));
    start();
    expect(problems).toEqual([
      expect.stringMatching(/cannot install the CNI plugin in .*net\.d: .*not a regular file/),
    ]);
  });

  it('the binary is replaced while a process runs from it', async () => {
    copyFileSync('/bin/sleep', at('plugin'));
    writeFileSync(conf(PRIMARY), list(1));
    const installer = start();
    const running = spawn(at('bin/bailiff-cni'), ['600']);
    await once(running, 'spawn');
    try {
      // Control: writing into the running file is refused by the kernel.
      expect(() => copyFileSync('/bin/true', at('bin/bailiff-cni'))).toThrow(/ETXTBSY/);
      copyFileSync('/bin/true', at('plugin'));
      chmodSync(at('plugin'), 0o600);
      installer.look();
      expect(readFileSync(at('bin/bailiff-cni')).equals(readFileSync('/bin/true'))).toBe(true);
      expect(running.exitCode).toBe(null);
    } finally {
      running.kill('SIGKILL');
    }
  });

  it('links under our names are replaced, and their targets stay as they are', () => {
    writeFileSync(conf(PRIMARY), list(1));
    for (const name of ['target-a', 'target-b']) writeFileSync(at(name), 'foreign');
    for (const name of [OWN_CONFLIST, `${OWN_CONFLIST}.new`]) symlinkSync(at('target-a'), conf(name));
    for (const name of ['bailiff-cni', 'bailiff-cni.new']) symlinkSync(at('target-b'), at('bin', name));
    expect(start().isInstalled).toBe(true);
    expect(['target-a', 'target-b'].map((name) => readFileSync(at(name), 'utf8'))).toEqual(['foreign', 'foreign']);
    expect([conf(OWN_CONFLIST), at('bin/bailiff-cni')].map((file) => lstatSync(file).isFile())).toEqual([true, true]);
    expect([readdirSync(at('net.d')).length, readdirSync(at('bin'))]).toEqual([2, ['bailiff-cni']]);
    expect(problems).toEqual([]);
  });

  it('a primary that is a link is not read: the collector may see another file under it', () => {
    writeFileSync(at('elsewhere'), list(1));
    symlinkSync(at('elsewhere'), conf(PRIMARY));
    const installer = start();
    expect(problems).toEqual([expect.stringMatching(/is a symbolic link, which is not followed/)]);
    expect([existsSync(conf(OWN_CONFLIST)), installer.isInstalled]).toEqual([false, false]);
    // Control: the same file in the directory is chained.
    renameSync(at('elsewhere'), conf(PRIMARY));
    installer.look();
    expect(installer.isInstalled).toBe(true);
  });

  it('a FIFO in place of the primary does not block the collector', () => {
    expect(spawnSync('mkfifo', [conf(PRIMARY)]).status).toBe(0);
    expect(start().isInstalled).toBe(false);
    expect(problems).toEqual([expect.stringMatching(/not a regular file/)]);
  });

  it('a configuration that sorts before ours is reported', () => {
    writeFileSync(conf('-a.conf'), list(1));
    expect(start().isInstalled).toBe(false);
    expect(existsSync(conf(OWN_CONFLIST))).toBe(false);
    expect(problems).toEqual([expect.stringMatching(/sorts before 0-bailiff\.conflist/)]);
  });
});
