import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../testing.ts';
import {
  cniBinFinding,
  cniConfFinding,
  nodeFindings,
  podCgroupFinding,
  selinuxFinding,
  stateFinding,
} from './preflight.ts';

describe('rules', () => {
  it.each([
    ['systemd', ['kubepods.slice', 'system.slice'], 'ok', '/host/cgroup/kubepods.slice'],
    ['cgroupfs', ['kubepods'], 'ok', '/host/cgroup/kubepods'],
    ['a kubelet elsewhere', ['kubelet.slice'], 'warn', /^no kubepods in \/host\/cgroup/],
  ])('pod cgroups - %s', (_, entries, state, detail) => {
    expect(podCgroupFinding('/host/cgroup', entries)).toMatchObject({ state, detail: expect.stringMatching(detail) });
  });

  it.each([
    ['', null],
    ['unconfined\n', null],
    ['system_u:system_r:spc_t:s0\0', 'ok'],
    ['system_u:system_r:container_t:s0:c1,c2\0', 'warn'],
  ])('SELinux - %j', (label, state) => {
    expect(selinuxFinding(label)?.state ?? null).toBe(state);
  });

  it.each([
    [['10-flannel.conflist', '0-bailiff.conflist'], null, 'ok', '/etc/cni/net.d/10-flannel.conflist'],
    [['0-bailiff.conflist', 'README'], null, 'fail', /^no configuration in/],
    [[], null, 'fail', /^no configuration in/],
    [['10-flannel.conflist'], 'EROFS', 'fail', /is not writable: EROFS/],
  ])('CNI configuration - %j, %s', (entries, refusal, state, detail) => {
    const found = cniConfFinding('/etc/cni/net.d', entries, refusal);
    expect(found).toMatchObject({ state, detail: expect.stringMatching(detail), exitCode: state === 'ok' ? 0 : 6 });
  });

  it('a directory that is not writable is a failure with the setting to change', () => {
    expect(stateFinding('/d', null).state).toBe('ok');
    expect(stateFinding('/d', 'EROFS')).toMatchObject({ state: 'fail', exitCode: 6 });
    expect(cniBinFinding('/d', null).state).toBe('ok');
    expect(cniBinFinding('/d', 'EROFS')).toMatchObject({
      state: 'fail',
      remedy: expect.stringContaining('cni.binDir'),
    });
  });
});

describe('a node', () => {
  let node: string;
  beforeAll(() => {
    node = temporaryDirectory();
    for (const dir of ['cgroup/kubepods', 'conf', 'bin']) mkdirSync(path.join(node, dir), { recursive: true });
    writeFileSync(path.join(node, 'conf/10-bridge.conflist'), '{}');
  });
  const paths = () => ({
    cgroupRoot: path.join(node, 'cgroup'),
    stateDir: path.join(node, 'state/below'),
    cniConfDir: path.join(node, 'conf'),
    cniBinDir: path.join(node, 'bin'),
  });
  const below = () => path.join(node, 'conf/10-bridge.conflist/x');
  const states = (findings: readonly { name: string; state: string }[]) =>
    Object.fromEntries(findings.map(({ name, state }) => [name, state]));

  it('a missing directory is judged by its parent', () => {
    const good = { 'pod cgroups': 'ok', state: 'ok', 'CNI configuration': 'ok', 'CNI plugins': 'ok' };
    expect(states(nodeFindings(paths()))).toMatchObject(good);
    expect(states(nodeFindings({ ...paths(), cniConfDir: undefined, cniBinDir: undefined }))).not.toHaveProperty(
      'CNI plugins',
    );
    // Refused to root too.
    expect(states(nodeFindings({ ...paths(), stateDir: below() })).state).toBe('fail');
  });

  it('doctor --preflight reports the node, and ends with the code of what is missing', async () => {
    const { cgroupRoot, stateDir, cniConfDir } = paths();
    const flags = ['--cgroup-root', cgroupRoot, '--state-dir', stateDir, '--cni-conf-dir', cniConfDir];
    const run = async (binDir: string) => {
      const { stdout } = await runCli(['doctor', '--preflight', '--json', ...flags, '--cni-bin-dir', binDir]);
      const { groups } = JSON.parse(stdout);
      expect(groups).toHaveLength(1);
      return states(groups[0].findings);
    };
    expect((await run(paths().cniBinDir))['CNI plugins']).toBe('ok');
    expect((await run(below()))['CNI plugins']).toBe('fail');
  });
});
